"""Points of a plane for vectors."""

import sys

import numpy as np
import pytest

from mkt_search.errors import MapError
from mkt_search.progress import Progress, no_progress
from mkt_search.projection.plane import AXES, LAID_OUT_FROM, LAYING_OUT, Axes, laid_out
from tests.projection.made import DIM, clustered


def test_axes_keep_the_distances_of_vectors_that_lie_along_them() -> None:
    vectors = clustered(40)
    found = Axes.of(vectors).coordinates(vectors)
    assert found.shape == (40, min(AXES, DIM))
    assert np.allclose(
        np.linalg.norm(found[0] - found, axis=1),
        np.linalg.norm(vectors[0] - vectors, axis=1),
        atol=1e-5,
    )


def test_the_first_axis_is_the_longest() -> None:
    vectors = clustered(40)
    spread = Axes.of(vectors).coordinates(vectors).std(axis=0)
    assert (np.diff(spread) < 1e-5).all()


@pytest.mark.slow
def test_alike_vectors_lie_side_by_side() -> None:
    vectors = clustered(120, 4)
    points = laid_out(Axes.of(vectors).coordinates(vectors), seed=0, progress=no_progress)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(axis=1) % 4 == np.arange(120) % 4).all()
    assert points.dtype == np.float32 and np.abs(points).max() == 1


@pytest.mark.slow
def test_a_seed_gives_the_same_points_again() -> None:
    coordinates = Axes.of(clustered(60)).coordinates(clustered(60))
    one, same = (laid_out(coordinates, seed=3, progress=no_progress) for _ in range(2))
    assert np.array_equal(one, same)


@pytest.mark.parametrize("count", [0, 1, 2, 3, LAID_OUT_FROM - 1])
def test_few_photos_lie_along_their_axes(count: int) -> None:
    vectors = clustered(count)
    coordinates = Axes.of(vectors).coordinates(vectors) if count else np.empty((0, 5), np.float32)
    points = laid_out(coordinates, seed=0, progress=no_progress)
    assert points.shape == (count, 2) and np.isfinite(points).all()
    assert count < 2 or np.abs(points).max() == 1


@pytest.mark.parametrize("count", [5, 50])
def test_photos_with_one_vector_have_one_point(count: int) -> None:
    vectors = np.tile(clustered(1), (count, 1))
    points = laid_out(Axes.of(vectors).coordinates(vectors), seed=0, progress=no_progress)
    assert np.abs(points).max() < 1e-3 or count < LAID_OUT_FROM


def test_vectors_of_one_number_lie_on_a_line() -> None:
    vectors = np.array([[1.0], [-1.0], [0.5]], np.float32)
    points = laid_out(Axes.of(vectors).coordinates(vectors), seed=0, progress=no_progress)
    assert points.shape == (3, 2) and (points[:, 1] == 0).all()


@pytest.mark.slow
def test_the_layout_reports_how_far_it_is_and_can_be_stopped() -> None:
    coordinates = Axes.of(clustered(60)).coordinates(clustered(60))
    events: list[Progress] = []

    def stop(event: Progress) -> None:
        events.append(event)
        if len(events) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        laid_out(coordinates, seed=0, progress=stop)
    assert [event.step for event in events] == [LAYING_OUT] * 3
    assert 0 < events[0].done < events[-1].done < events[-1].total


def test_without_openTSNE_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    coordinates = Axes.of(clustered(60)).coordinates(clustered(60))
    with pytest.raises(MapError, match=r'pip install "mkt-search\[map\]"'):
        laid_out(coordinates, seed=0, progress=no_progress)
