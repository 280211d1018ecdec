"""The state of a library in numbers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mkt_search.store.status import CandidateIndexStatus, status
from mkt_search.store.store import Store
from tests import made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".mkt")
    yield store
    store.close()


def test_a_new_library_has_nothing(store: Store) -> None:
    found = status(store)
    assert (found.photos, found.duplicates, found.tags, found.roots) == ({}, 0, {}, [])
    assert (found.encoding, found.model, found.building) == (None, None, None)
    assert (found.segments, found.bytes_segments, found.candidate_index) == (0, 0, None)
    assert found.bytes_database > 0 and found.writer is None


def test_a_filled_library_is_counted(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 3)
    found = status(store)
    assert found.photos == {"indexed": 3}
    assert (found.encoding, found.model) == (stored.encoding, "made")
    assert found.segments == 1
    assert found.bytes_segments == sum(file.stat().st_size for file in store.folder.iterdir())
    [folder] = found.roots
    assert (folder.path, folder.exists, folder.photos) == (root, True, 3)
    root.rename(root.parent / "moved")
    assert not status(store).roots[0].exists


def test_a_rebuild_shows_how_many_photos_it_has_encoded(store: Store, root: Path) -> None:
    made.fill(store, root, 3)
    with store.writing("test"):
        store.begin_encoding(made.encoding(m=4), model="made", rebuild=True)
    assert status(store).building == (0, 3)


def test_the_writer_is_named_while_it_works(store: Store) -> None:
    with store.writing("mkt index"):
        writer = status(store).writer
    assert writer is not None and writer.startswith("`mkt index` (pid ")
    assert status(store).writer is None


@pytest.mark.slow
def test_a_candidate_index_is_counted_with_its_files(tmp_path: Path) -> None:
    store = made.optimized(tmp_path / "home", 300)
    size = sum(file.stat().st_size for file in store.index_folder.iterdir())
    assert status(store).candidate_index == CandidateIndexStatus(300, size)
    store.close()
