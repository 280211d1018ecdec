"""Clusters of points, and their names."""

import numpy as np
import pytest

from mkt_search.projection.clusters import COARSE, FINE, centers_of, means_of, names_of, nearest

CORNERS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)


def around(corners: np.ndarray, each: int) -> np.ndarray:
    """Return points near each corner, one corner after the other."""
    noise = np.random.default_rng(0).normal(scale=0.02, size=(len(corners) * each, 2))
    points: np.ndarray = (corners.repeat(each, axis=0) + noise).astype(np.float32)
    return points


def test_groups_of_points_are_clusters() -> None:
    coarse, fine = centers_of(around(CORNERS, 16), seed=0)
    assert len(coarse) == 2 and len(fine) == 8
    assert np.abs(np.abs(fine) - 1).max() < 0.1


def test_there_are_two_levels_of_few_clusters() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (2_000, 2)).astype(np.float32)
    coarse, fine = centers_of(points, seed=0)
    assert (len(coarse), len(fine)) == (COARSE, FINE)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_few_points_are_one_cluster(count: int) -> None:
    points = around(CORNERS[:1], count)
    coarse, fine = centers_of(points, seed=0)
    assert len(coarse) == len(fine) == 1
    assert np.allclose(fine[0], points.mean(axis=0), atol=1e-6)


def test_no_points_have_no_clusters() -> None:
    assert centers_of(np.empty((0, 2), np.float32), seed=0) == []


def test_equal_points_are_one_cluster() -> None:
    assert [len(centers) for centers in centers_of(np.zeros((50, 2), np.float32), seed=0)] == [1, 1]


def test_a_point_belongs_to_the_nearest_center() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (500, 2)).astype(np.float32)
    expected = np.linalg.norm(points[:, None] - CORNERS, axis=2).argmin(axis=1)
    assert np.array_equal(nearest(points, CORNERS), expected)


def test_the_mean_of_a_cluster_has_length_1_and_that_of_none_is_zero() -> None:
    vectors = np.eye(4, dtype=np.float32)
    found = means_of(vectors, np.array([0, 0, 2, 2]), 3)
    half = np.float32(0.5**0.5)
    assert np.allclose(found, [[half, half, 0, 0], [0, 0, 0, 0], [0, 0, half, half]])


def test_a_name_tells_a_cluster_from_the_others() -> None:
    means = np.array([[1, 0.2, 0], [1, 0, 0.2]], np.float32)  # both show outdoors most
    labels = ["outdoors", "dog", "cat"]
    assert names_of(means, labels, np.eye(3, dtype=np.float32)) == ["dog", "cat"]


def test_a_single_cluster_has_the_label_that_scores_best() -> None:
    means = np.array([[0.2, 1, 0]], np.float32)
    assert names_of(means, ["dog", "cat", "car"], np.eye(3, dtype=np.float32)) == ["cat"]


def test_no_label_names_two_clusters_of_a_level() -> None:
    means = np.array([[1, 0], [0.9, 0], [-1, 0]], np.float32)
    assert names_of(means, ["dog", "cat"], np.eye(2, dtype=np.float32)) == ["dog", "cat", ""]
