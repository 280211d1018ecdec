"""Photos placed among those whose points are known."""

import numpy as np

from mkt_search.projection.anchors import NEIGHBOURS, Anchors
from mkt_search.projection.plane import Axes
from tests.projection.made import clustered


def anchors(count: int) -> Anchors:
    vectors = clustered(count)
    axes = Axes.of(vectors)
    points = np.random.default_rng(1).uniform(-1, 1, (count, 2)).astype(np.float32)
    return Anchors(axes, axes.coordinates(vectors), points)


def test_a_photo_lies_at_the_median_of_its_ten_nearest_neighbours() -> None:
    known, new = anchors(50), clustered(7, seed=2)
    coordinates = known.axes.coordinates(new)
    for coordinate, point in zip(coordinates, known.place(new), strict=True):
        apart = np.linalg.norm(known.coordinates - coordinate, axis=1)
        near = np.argsort(apart)[:NEIGHBOURS]
        assert np.allclose(point, np.median(known.points[near], axis=0), atol=1e-6)


def test_among_fewer_than_ten_it_lies_at_the_median_of_all() -> None:
    known = anchors(3)
    assert np.allclose(
        known.place(clustered(2, seed=2)), np.median(known.points, axis=0), atol=1e-6
    )


def test_no_photos_have_no_points() -> None:
    assert anchors(3).place(clustered(0)).shape == (0, 2)
