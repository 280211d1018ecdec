"""The state of a library in numbers."""

from pathlib import Path

from mkt_search.library import Library
from tests import made


def test_an_empty_library_has_no_photos_and_no_model(tmp_path: Path) -> None:
    with Library.create(tmp_path) as library:
        found = library.status()
    assert (found.photos, found.encoding, found.candidate_index) == ({}, None, None)
    assert found.bytes_database > 0 and found.writer is None


def test_photos_segments_and_the_candidate_index_are_counted(tmp_path: Path) -> None:
    store = made.optimized(tmp_path, 300)
    store.close()
    with Library.open(tmp_path) as library:
        found = library.status()
    assert found.photos == {"indexed": 300} and found.segments >= 1
    assert found.candidate_index is not None and found.candidate_index.photos == 300
    assert found.candidate_index.bytes > 0
    assert [root.photos for root in found.roots] == [300]
