"""Shapes are polygons inside their square, and no two look alike."""

from itertools import combinations

import numpy as np
import pytest

from mkt_search.demo.scenes.render import render
from mkt_search.demo.scenes.shapes import PARTS, box, oval
from mkt_search.demo.scenes.world import SHAPES, Scene, Thing


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts_of_a_shape_are_inside_its_square(shape: str) -> None:
    for part in PARTS[shape]:
        assert part.points.ndim == 2 and part.points.shape[1] == 2
        assert np.abs(part.points).max() <= 1.1


def test_an_oval_is_on_the_ellipse_and_may_be_an_arc() -> None:
    points = oval(0.5, -0.5, 2, 1)
    assert points.shape == (40, 2)
    np.testing.assert_allclose(((points - (0.5, -0.5)) / (2, 1)) ** 2 @ [1, 1], 1)
    arc = oval(0, 0, 1, 1, start=0.25, turn=0.5)
    np.testing.assert_allclose(arc[[0, -1]], [[0, 1], [0, -1]], atol=1e-12)
    assert (arc[:, 0] <= 1e-12).all()


def test_a_box_has_four_corners() -> None:
    assert box(0, 1, 2, 3).tolist() == [[0, 1], [2, 1], [2, 3], [0, 3]]


def test_no_two_shapes_look_alike() -> None:
    looks = {
        shape: np.asarray(render(Scene("day", (Thing("red", shape, 0.5, 0.5, 0.4, 0.0),), 0), 48))
        for shape in SHAPES
    }
    for one, other in combinations(SHAPES, 2):
        differs = np.abs(looks[one].astype(int) - looks[other]).max(axis=2) > 40
        assert differs.mean() > 0.008, f"{one} and {other}"
