"""Maps that are made, and maps that grow."""

from collections.abc import Sequence

import numpy as np
import pytest

from mkt_search.errors import LibraryDamaged
from mkt_search.progress import Progress, no_progress
from mkt_search.projection.stored import PLACING, StoredMap, grow, project
from mkt_search.types import Vector
from tests import made
from tests.projection.made import DIM, clustered, contents, small_map, snapshot

NAMES = ["dog", "cat", "car", "snow"]


def labels() -> tuple[Sequence[str], Vector]:
    """Return a label for each cluster of the made-up vectors."""
    return NAMES, np.eye(4, DIM, dtype=np.float32)


def no_labels() -> tuple[Sequence[str], Vector]:
    return [], np.empty((0, DIM), np.float32)


@pytest.fixture(scope="module")
def mapped() -> StoredMap:
    """Return a map of 200 photos, 80 of them in the sample."""
    return project(snapshot(clustered(200)), contents(200), labels, sample=80)


@pytest.mark.slow
def test_photos_beyond_the_sample_lie_among_those_like_them(mapped: StoredMap) -> None:
    apart = np.linalg.norm(mapped.points[:, None] - mapped.points, axis=2)
    np.fill_diagonal(apart, np.inf)
    is_alike = apart.argmin(axis=1) % 4 == np.arange(200) % 4
    assert is_alike.all()
    assert len(mapped.anchors.points) == 80
    assert (mapped.encoding, mapped.revision) == (made.encoding().fingerprint, 1)


@pytest.mark.slow
def test_clusters_have_the_names_of_what_they_show(mapped: StoredMap) -> None:
    for cluster in mapped.clusters:
        if cluster.level == 1 and cluster.name:
            at = np.linalg.norm(mapped.points - [cluster.x, cluster.y], axis=1).argmin()
            assert cluster.name == NAMES[at % 4]
    assert {cluster.level for cluster in mapped.clusters} == {0, 1}
    assert {cluster.name for cluster in mapped.clusters if cluster.level == 1} >= set(NAMES)


@pytest.mark.slow
def test_a_map_grows_without_moving_what_it_has(mapped: StoredMap) -> None:
    vectors = np.concatenate([clustered(200)[50:], clustered(20, seed=5)])
    now = contents(170, first_id=51)
    events: list[Progress] = []
    grown = grow(mapped, snapshot(vectors, 51), now, progress=events.append)
    assert np.array_equal(grown.keys, now.keys)
    assert np.array_equal(grown.points[:150], mapped.points[50:])
    assert grown.clusters == mapped.clusters
    assert [event.total for event in events if event.step == PLACING] == [20]


@pytest.mark.slow
def test_the_order_of_photos_in_storage_does_not_matter(mapped: StoredMap) -> None:
    shuffled = np.random.default_rng(0).permutation(200)
    vectors, place = clustered(200), np.argsort(shuffled)
    other = contents(200)._replace(ids=place + 1)
    same = project(snapshot(vectors[shuffled]), other, labels, sample=80)
    assert np.array_equal(mapped.points, same.points)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_few_photos_have_a_map(count: int) -> None:
    found = project(snapshot(clustered(count)), contents(count), labels)
    assert found.points.shape == (count, 2) and np.isfinite(found.points).all()
    assert [cluster.level for cluster in found.clusters] == [0, 1]
    assert found.clusters[0].name in NAMES


def test_without_labels_clusters_have_no_names() -> None:
    found = project(snapshot(clustered(3)), contents(3), no_labels)
    assert {cluster.name for cluster in found.clusters} == {""}


def test_a_vector_that_is_no_number_is_refused() -> None:
    vectors = clustered(3)
    vectors[1] = np.nan
    with pytest.raises(LibraryDamaged, match="mkt verify"):
        project(snapshot(vectors), contents(3), labels)


def test_a_content_that_is_not_on_the_map_has_no_row() -> None:
    rows = small_map().rows_of(np.array([20, 25, 10, 31, 5], np.uint64))
    assert rows.tolist() == [1, -1, 0, -1, -1]


def test_a_grown_map_of_nothing_is_empty() -> None:
    grown = grow(small_map(), snapshot(clustered(1)), contents(0), progress=no_progress)
    assert len(grown.points) == 0
    assert grown.rows_of(np.array([10], np.uint64)).tolist() == [-1]
