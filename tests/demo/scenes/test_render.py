"""Rendering is deterministic, and every word has its own look."""

import colorsys
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search.demo.scenes.places import PAINTERS
from mkt_search.demo.scenes.render import HSV, SUPERSAMPLING, render, shade
from mkt_search.demo.scenes.shapes import PARTS
from mkt_search.demo.scenes.world import COLOURS, PLACES, SHAPES, Scene, Thing, draw_scene

SIDE = 48


def pixels(scene: Scene, side: int = SIDE) -> NDArray[np.int16]:
    return np.asarray(render(scene, side)).astype(np.int16)


def one_thing(colour: str, shape: str, *, place: str = "day", seed: int = 0) -> Scene:
    return Scene(place, (Thing(colour, shape, 0.5, 0.5, 0.4, 0.0),), seed)


def empty(place: str, seed: int = 0) -> Scene:
    return Scene(place, (), seed)


def test_every_word_can_be_painted() -> None:
    assert set(PARTS) == set(SHAPES)
    assert set(HSV) == set(COLOURS)
    assert set(PAINTERS) == set(PLACES)


@pytest.mark.parametrize("close_up", [False, True])
def test_the_same_scene_has_the_same_pixels(close_up: bool) -> None:
    for seed in range(4):
        scene = draw_scene(seed, close_up=close_up)
        np.testing.assert_array_equal(pixels(scene), pixels(scene))


def test_a_seed_changes_the_background() -> None:
    assert np.abs(pixels(empty("day", 0)) - pixels(empty("day", 1))).mean() > 1


@pytest.mark.parametrize("side", [32, 64, 100])
def test_an_image_is_rgb_of_the_given_size(side: int) -> None:
    image = render(draw_scene(0), side)
    assert (image.mode, image.size) == ("RGB", (side, side))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", PLACES)
def test_a_thing_is_visible_and_changes_nothing_else(place: str, shape: str) -> None:
    changed = np.abs(pixels(one_thing("purple", shape, place=place)) - pixels(empty(place))).max(
        axis=2
    )
    rows, columns = np.nonzero(changed > 24)
    assert len(rows) > 0.04 * 0.16 * SIDE**2
    reach = (0.2 + 0.4 * 0.06) * SIDE + 1  # half its size, its rim and a pixel
    assert max(abs(rows - SIDE / 2).max(), abs(columns - SIDE / 2).max()) <= reach


def test_a_red_ball_is_red_in_the_middle() -> None:
    for seed in range(20):
        red, green, blue = pixels(one_thing("red", "ball", seed=seed))[SIDE // 2, SIDE // 2]
        assert red > 150 and max(green, blue) < 90


def test_the_background_is_visible_through_a_ring() -> None:
    behind = pixels(empty("sea"))[SIDE // 2, SIDE // 2]
    ring = pixels(one_thing("red", "ring", place="sea"))
    np.testing.assert_array_equal(ring[SIDE // 2, SIDE // 2], behind)


def test_a_thing_in_front_covers_one_behind() -> None:
    back, front = (Thing(c, "square", 0.5, 0.5, 0.4, 0.0) for c in ("blue", "yellow"))
    red, green, blue = pixels(Scene("day", (back, front), 0))[SIDE // 2, SIDE // 2]
    assert min(red, green) > 180 > blue


def test_shades_of_two_colours_never_meet() -> None:
    """Any two colours differ in hue, saturation or brightness."""
    rng = np.random.default_rng(0)
    shades = {name: np.array([shade(name, rng) for _ in range(200)]) for name in COLOURS}
    for one, other in combinations(COLOURS, 2):
        apart = np.abs(shades[one][:, None] - shades[other][None]).max(axis=2)
        assert apart.min() > 10, f"{one} and {other}"


@pytest.mark.parametrize("name", ["red", "yellow", "green", "blue", "purple"])
def test_a_shade_has_the_hue_of_its_name(name: str) -> None:
    rng = np.random.default_rng(0)
    (hue, _, _), (spread, _, _) = HSV[name]
    for _ in range(50):
        red, green, blue = shade(name, rng)
        found, _, _ = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        assert abs((found - hue + 0.5) % 1 - 0.5) <= spread + 0.005


def test_edges_are_smooth() -> None:
    """A pixel is the mean of SUPERSAMPLING x SUPERSAMPLING painted pixels."""
    scene = one_thing("white", "square", place="night")
    fine = np.asarray(render(scene, SIDE * SUPERSAMPLING)).astype(float)
    assert len(np.unique(pixels(scene).reshape(-1, 3), axis=0)) > 30
    assert fine.shape == (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING, 3)
