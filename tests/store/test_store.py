"""The store: one batch is one commit, encodings never mix. The contract has the catalog's part."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import (
    CheckpointMismatch,
    LibraryDamaged,
    LibraryNotFound,
    SchemaOutdated,
    StoreError,
)
from mkt_search.store.checks import verify
from mkt_search.store.prune import prune
from mkt_search.store.records import Batch
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / ".mkt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def paths(store: Store) -> list[str]:
    return [photo.relative for photo in store.catalog.photos()]


def add_late(store: Store, root: Path) -> None:
    stored = store.active
    assert stored is not None
    photos = [made.photo(root, "late.jpg", row=0)]
    store.add(made.location(store, root), stored, Batch(photos, (), made.vectors(1, 5)))


def test_what_was_added_is_there_after_opening_again(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 5)
    again = Store.open(store.directory)
    snapshot = LocalSnapshot.open(again, stored)
    ids = snapshot.content_ids()
    assert len(ids) == 5
    found = snapshot.vectors(ids).vectors[:, 0]
    np.testing.assert_allclose(found, made.vectors(5).global_vectors, atol=0.02)
    assert verify(again) == []


def test_vectors_belong_to_the_photos_of_their_rows(store: Store, root: Path) -> None:
    stored = store.begin_encoding(made.encoding(), model="m")
    photos = [made.photo(root, name, row) for name, row in (("a", 2), ("b", 0), ("c", 1))]
    vectors = made.vectors(3)
    store.add(made.location(store, root), stored, Batch(photos, (), vectors))
    ids = store.catalog.content_ids_of([photo.content for photo in photos])
    asked = np.array([ids[photo.content] for photo in photos], np.int64)
    found = LocalSnapshot.open(store, stored).vectors(asked).vectors[:, 0]
    np.testing.assert_allclose(found, vectors.global_vectors[[2, 0, 1]], atol=0.02)
    assert verify(store) == []


def test_a_crash_before_the_commit_leaves_only_an_orphan(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill(store, root, 2)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.vectors, "commit", crash)
    with pytest.raises(KeyboardInterrupt):
        add_late(store, root)
    monkeypatch.undo()
    assert verify(store) == []
    assert len(list(store.folder.iterdir())) == 2
    with store.writing("test"):
        assert len(list(store.folder.iterdir())) == 1
    assert paths(store) == ["p000.jpg", "p001.jpg"]


@pytest.mark.parametrize("site", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_nothing_changes(
    store: Store, root: Path, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.fill(store, root, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, site, full)
    with pytest.raises(StoreError, match=r"full.*safe.*again"):
        add_late(store, root)
    monkeypatch.undo()
    assert verify(store) == []
    assert paths(store) == ["p000.jpg", "p001.jpg"]


def test_a_wrong_url_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="names mysql"):
        Store.create(tmp_path / "library", url="mysql://host/name")
    assert not (tmp_path / "library").exists()


def test_a_wrong_url_makes_no_database(tmp_path: Path) -> None:
    Store.create(tmp_path / "library").close()
    with pytest.raises(LibraryNotFound, match=r"other\.db\. Correct the URL under \[library\]"):
        Store.open(tmp_path / "library", url=f"sqlite:///{tmp_path / 'other.db'}")
    assert not (tmp_path / "other.db").exists()


def test_a_database_without_a_library_names_both_ways_out(tmp_path: Path) -> None:
    Store.create(tmp_path / "library").close()
    (tmp_path / "other.db").touch()
    with pytest.raises(SchemaOutdated, match=r"Run `mkt init`.*under \[library\] in mkt\.toml"):
        Store.open(tmp_path / "library", url=f"sqlite:///{tmp_path / 'other.db'}")


@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "missing"])
def test_a_lost_database_names_its_one_way_out(store: Store, root: Path, is_there: bool) -> None:
    for number in range(3):
        made.fill(store, root, 1, seed=number, name=f"{number}-")
    store.close()
    for file in store.directory.glob("mkt.db*"):
        file.unlink()
    if is_there:
        (store.directory / "mkt.db").touch()
    lost = r"mkt\.db is missing or empty, but .*segments has 3 files: restore the database"
    for open_again in (Store.open, Store.create, migrated):
        with pytest.raises(LibraryDamaged, match=lost):
            open_again(store.directory)
    assert len(list(store.folder.iterdir())) == 3


def migrated(directory: Path) -> None:
    Store.open(directory, check=False).migrate()


def test_vectors_of_another_checkpoint_are_refused(store: Store, root: Path) -> None:
    made.fill(store, root, 1)
    with pytest.raises(CheckpointMismatch, match=r"0123456789ab.*ffff.*--rebuild"):
        store.begin_encoding(made.encoding(checkpoint="ffff"), model="other")


def test_other_settings_are_refused_by_name(store: Store, root: Path) -> None:
    made.fill(store, root, 1)
    with pytest.raises(CheckpointMismatch, match=r"precision int8 -> fp16.*--rebuild"):
        store.begin_encoding(made.encoding(precision="fp16"), model="made")


def test_files_of_an_interrupted_index_build_go_with_the_next_writer(
    store: Store, root: Path
) -> None:
    made.fill(store, root, 1)
    store.index_folder.mkdir()
    (store.index_folder / "1-abc.pq").write_bytes(b"?")
    with store.writing("test"):
        assert list(store.index_folder.iterdir()) == []


@pytest.mark.parametrize("name", ["what? 2019", "100%25", "a#b", os.fsdecode(b"caf\xe9")])
def test_a_library_can_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Store.create(tmp_path / name / ".mkt").close()
    Store.open(tmp_path / name / ".mkt").close()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_full_disk_is_pruned(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first transaction finds no room; the files that it would free are deleted then."""
    made.fill(store, root, 2)
    made.fill(store, root, 2, seed=1, name="gone")
    gone = [photo.id for photo in store.catalog.photos() if photo.relative.startswith("gone")]
    store.catalog.mark_missing(gone)
    files = sorted(store.folder.iterdir())
    prune_rows = store.vectors.prune

    def full(**_: object) -> None:
        monkeypatch.setattr(store.vectors, "prune", prune_rows)
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store.vectors, "prune", full)
    with pytest.raises(StoreError):
        prune(store)  # there is room: the error has another reason
    monkeypatch.setattr(store.vectors, "prune", full)
    monkeypatch.setattr("mkt_search.store.prune.is_full", lambda folder: True)
    assert prune(store).photos == 2
    assert len(files) == 2 and len(list(store.folder.iterdir())) == 1
    assert verify(store) == []
