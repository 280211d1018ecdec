"""A map as it is shown."""

import numpy as np

from mkt_search.projection.shown import STALE, shown
from mkt_search.store.records import ShownContents
from tests.projection.made import small_map


def now(*keys: int) -> ShownContents:
    """Return contents that a search can find, photo 100 the oldest."""
    count = len(keys)
    return ShownContents(
        np.arange(count)[::-1] + 1, np.arange(count) + 100, np.array(keys, np.uint64)
    )


def test_photos_have_the_points_of_their_contents() -> None:
    stored = small_map()
    found = shown(stored, now(30, 99, 10), stored.encoding, "1")
    assert found.photo_ids.tolist() == [100, 102]
    assert found.content_ids.tolist() == [3, 1]
    assert np.array_equal(found.points, stored.points[[2, 0]])
    assert (len(found), found.missing, found.stale) == (2, 1, "")


def test_photos_are_counted_in_the_cluster_nearest_to_them() -> None:
    stored = small_map()
    found = shown(stored, now(10, 20), stored.encoding, "1")
    assert [(each.name, each.photos) for each in found.clusters] == [("dog", 2), ("", 2)]


def test_a_map_of_other_vectors_is_stale() -> None:
    assert shown(small_map(), now(10), "another", "1").stale == STALE


def test_a_library_without_photos_shows_no_points() -> None:
    found = shown(small_map(), now(), "", "1")
    assert len(found) == 0 and [each.photos for each in found.clusters] == [0, 0]
