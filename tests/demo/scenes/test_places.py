"""Every place fills its background, and no two look alike."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search.demo.scenes.places import Canvas
from mkt_search.demo.scenes.render import render
from mkt_search.demo.scenes.world import PLACES, Scene


def background(place: str, seed: int) -> NDArray[np.int16]:
    return np.asarray(render(Scene(place, (), seed), 48)).astype(np.int16)


@pytest.mark.parametrize("place", PLACES)
def test_a_place_fills_the_frame(place: str) -> None:
    for seed in range(12):
        painted = background(place, seed)
        assert (painted.sum(axis=2) > 0).all()
        assert painted.std() > 4


def test_no_two_places_look_alike() -> None:
    looks = {place: np.mean([background(place, s) for s in range(6)], axis=0) for place in PLACES}
    for one, other in combinations(PLACES, 2):
        assert np.abs(looks[one] - looks[other]).mean() > 8, f"{one} and {other}"


def test_a_varied_colour_stays_in_range_and_near_its_mean() -> None:
    canvas = Canvas(8, np.random.default_rng(0))
    varied = np.array([canvas.vary((250, 128, 5)) for _ in range(200)])
    assert varied.min() >= 0 and varied.max() <= 255
    assert abs(varied[:, 1].mean() - 128) < 3 and 8 < varied[:, 1].std() < 16
