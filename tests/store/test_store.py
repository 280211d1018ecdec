"""The store: one batch, one commit; identity by content; encodings that never mix."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import (
    CheckpointMismatch,
    LibraryDamaged,
    StoreError,
)
from mkt_search.store import checks
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql import runs
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.store import Batch, Store
from mkt_search.types import Filters, ImageSpec, ModelRecord
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / ".mkt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def paths(store: Store, **filters: object) -> list[str]:
    with reading(store.engine) as session:
        found = photo_queries.photos(session, filters=Filters(**filters))  # type: ignore[arg-type]
        return [record.relative for record in found]


def test_what_was_added_is_there_after_opening_again(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 5)
    again = Store.open(store.directory)
    snapshot = LocalSnapshot.open(again, stored)
    ids = snapshot.content_ids()
    assert len(ids) == 5
    expected = made.vectors(5)
    np.testing.assert_allclose(
        snapshot.vectors(ids).vectors[:, 0], expected.global_vectors, atol=0.02
    )
    assert checks.verify(again) == []


def test_an_index_takes_in_later_batches_and_forgets_the_missing(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 3)
    snapshot = LocalSnapshot.open(store, stored)
    made.fill(store, root, 4, seed=1, name="q")
    snapshot = snapshot.renewed()
    assert len(snapshot.content_ids()) == 7
    with reading(store.engine) as session:
        first = next(photo_queries.photos(session))
    store.mark_missing([first.id])
    assert len(snapshot.renewed().content_ids()) == 6


def test_a_crash_before_the_commit_leaves_only_an_orphan(
    store: Store, root: Path, monkeypatch
) -> None:
    stored = made.fill(store, root, 2)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(photo_queries, "record", crash)
    with pytest.raises(KeyboardInterrupt):
        photos = [made.photo(root, "late.jpg", row=0)]
        store.add(store.place_of(root), stored, Batch(photos, (), made.vectors(1, 5)))
    monkeypatch.undo()
    assert checks.verify(store) == []
    assert len(list(store.folder.iterdir())) == 2
    with store.writing("test"):
        assert len(list(store.folder.iterdir())) == 1
    assert paths(store) == ["p000.jpg", "p001.jpg"]


@pytest.mark.parametrize("site", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_nothing_changes(
    store: Store, root: Path, site: str, monkeypatch
) -> None:
    stored = made.fill(store, root, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, site, full)
    with pytest.raises(StoreError, match=r"full.*safe.*again"):
        photos = [made.photo(root, "late.jpg", row=0)]
        store.add(store.place_of(root), stored, Batch(photos, (), made.vectors(1, 5)))
    monkeypatch.undo()
    assert checks.verify(store) == []
    assert paths(store) == ["p000.jpg", "p001.jpg"]


def test_vectors_of_another_checkpoint_are_refused(store: Store, root: Path) -> None:
    made.fill(store, root, 1)
    with pytest.raises(CheckpointMismatch, match=r"0123456789ab.*ffff.*--rebuild"):
        store.begin_encoding(made.encoding(checkpoint="ffff"), model="other")


def test_the_same_student_under_another_name_is_searched_with_from_now_on(
    store: Store, root: Path
) -> None:
    first = made.fill(store, root, 1)
    again = store.begin_encoding(made.encoding(), model="tuned")
    assert (again.id, again.model) == (first.id, "tuned")
    assert store.active == again


def test_other_settings_are_refused_by_name(store: Store, root: Path) -> None:
    made.fill(store, root, 1)
    with pytest.raises(CheckpointMismatch, match=r"precision int8 -> int4.*--rebuild"):
        store.begin_encoding(made.encoding(precision="int4"), model="made")


def test_a_rebuild_is_searched_only_when_every_photo_is_done(store: Store, root: Path) -> None:
    old = made.fill(store, root, 2)
    place = store.place_of(root)
    new = store.begin_encoding(made.encoding(m=3), model="made", rebuild=True)
    photos = [made.photo(root, f"p00{i}.jpg", row=i) for i in range(2)]
    store.add(place, new, Batch(photos[:1], (), made.vectors(1, 3, m=3)))
    assert not store.finish_encoding(new)
    assert store.active == old
    again = store.begin_encoding(made.encoding(m=3), model="made")  # a later run goes on with it
    assert again.id == new.id
    second = [made.photo(root, "p001.jpg", row=0)]
    store.add(place, new, Batch(second, (), made.vectors(1, 4, m=3)))
    assert store.finish_encoding(new)
    assert [item.encoding.m for item in store.encodings()] == [3]
    assert checks.verify(store) == []


def test_a_refused_encoding_leaves_an_unfinished_rebuild(store: Store, root: Path) -> None:
    made.fill(store, root, 2)
    new = store.begin_encoding(made.encoding(m=3), model="made", rebuild=True)
    with pytest.raises(CheckpointMismatch):
        store.begin_encoding(made.encoding(m=4), model="made")
    assert store.building is not None and store.building.id == new.id


@pytest.mark.parametrize("name", ["what? 2019", "100%25", "a#b", os.fsdecode(b"caf\xe9")])
def test_a_library_can_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Store.create(tmp_path / name / ".mkt").close()
    Store.open(tmp_path / name / ".mkt").close()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_vectors_that_a_rebuild_replaced_are_not_taken_for_an_empty_library(
    store: Store, root: Path
) -> None:
    index = LocalSnapshot.open(store, made.fill(store, root, 1))
    new = store.begin_encoding(made.encoding(m=3), model="made", rebuild=True)
    again = [made.photo(root, "p000.jpg", row=0)]
    store.add(store.place_of(root), new, Batch(again, (), made.vectors(1, m=3)))
    assert store.finish_encoding(new)
    with pytest.raises(LibraryDamaged, match="a rebuild replaced them"):
        index.renewed()


@pytest.mark.parametrize(("checkpoint", "kept"), [("0123456789ab", 1), ("ba9876543210", 0)])
def test_labels_are_remembered_until_a_rebuild_by_another_student(
    store: Store, root: Path, checkpoint: str, kept: int
) -> None:
    made.fill(store, root, 1)
    with transaction(store.engine) as session:
        runs.remember_labels(session, "words", {"dog": b"1234"})
    new = made.encoding(m=3, checkpoint=checkpoint)
    building = store.begin_encoding(new, model="made", rebuild=True)
    again = [made.photo(root, "p000.jpg", row=0)]
    store.add(store.place_of(root), building, Batch(again, (), made.vectors(1, m=3)))
    assert store.finish_encoding(building)
    with reading(store.engine) as session:
        assert len(runs.label_vectors(session, "words", ["dog"])) == kept


def test_what_is_known_of_a_model_is_recorded_with_every_encoding_it_made(
    store: Store, root: Path
) -> None:
    stored = made.fill(store, root, 1)
    assert stored.record is None
    image = ImageSpec(32, 48, (0.1, 0.2, 0.3), (1, 1, 1), "crop", 50)
    record = ModelRecord("stamp", "label encoder", image)
    store.record_model("moved", stored.encoding.checkpoint, record)
    store.record_model("other", "ffffffffffff", replace(record, stamp="other"))
    assert store.active == replace(stored, model="moved", record=record)
    renamed = store.begin_encoding(stored.encoding, model="renamed")
    assert store.active == renamed == replace(stored, model="renamed", record=None)
