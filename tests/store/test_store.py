"""The store: one batch, one commit; identity by content; encodings that never mix."""

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from mkt_search.errors import (
    CheckpointMismatch,
    LibraryDamaged,
    LibraryNotFound,
    QueryError,
    SchemaOutdated,
    StoreError,
)
from mkt_search.store import checks
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import changes, runs, tags
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.status import status
from mkt_search.store.store import Batch, Store
from mkt_search.types import Filters, ImageSpec, ModelRecord, PhotoFacts
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


def test_a_library_that_is_not_there_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound, match=r"mkt init.*--library"):
        Store.open(tmp_path / ".mkt")


def test_making_a_library_twice_changes_nothing(store: Store, root: Path) -> None:
    made.fill(store, root, 2)
    Store.create(store.directory)
    assert len(paths(Store.open(store.directory))) == 2


@pytest.mark.parametrize(("version", "way_out"), [("0000", "mkt migrate"), ("9999", "Upgrade")])
def test_another_schema_is_refused(store: Store, version: str, way_out: str) -> None:
    with transaction(store.engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    with pytest.raises(SchemaOutdated, match=way_out):
        Store.open(store.directory)


def test_what_was_added_is_there_after_opening_again(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 5)
    again = Store.open(store.directory)
    snapshot = LocalSnapshot.open(again, stored)
    ids = snapshot.content_ids()
    assert len(ids) == 5
    expected = made.vectors(5)
    np.testing.assert_allclose(snapshot.vectors(ids).vectors[:, 0], expected.global_, atol=0.02)
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


def test_copies_share_one_set_of_vectors(store: Store, root: Path) -> None:
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="m")
        twins = [
            made.photo(root, "a.jpg", row=0, content=made.sha("same")),
            made.photo(root, "b.jpg", content=made.sha("same")),
        ]
        store.add(store.place_of(root), stored, Batch(twins, (), made.vectors(1)))
    assert len(store.live_vectors(stored.id)) == 1
    assert status(store).duplicates == 1


def test_a_renamed_photo_keeps_its_row(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1)
    with reading(store.engine) as session:
        before = next(photo_queries.photos(session))
    moved = made.photo(root, "new/name.jpg", content=made.sha("p000.jpg"), renames=before.id)
    store.add(store.place_of(root), stored, Batch([moved]))
    with reading(store.engine) as session:
        after = list(photo_queries.photos(session))
    assert [(record.id, record.relative) for record in after] == [(before.id, "new/name.jpg")]


def test_a_failed_photo_is_a_row_with_its_reason(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1)
    place = store.place_of(root)
    store.add(place, stored, Batch([], [made.failed(root, "bad.jpg", "truncated")]))
    found = store.known(place, stored)["bad.jpg"]
    assert (found.state, found.error, found.has_vectors) == ("failed", "truncated", False)


def test_an_edited_photo_loses_automatic_tags_and_keeps_human_ones(
    store: Store, root: Path
) -> None:
    stored = made.fill(store, root, 1)
    with transaction(store.engine) as session:
        photo = next(photo_queries.photos(session)).id
        tags.add_by_hand(session, [photo], "mine")
        run = runs_start(session)
        tags.add_auto(session, run, [(photo, tags.label_ids(session, ["theirs"])["theirs"], 0.5)])
    edited = made.photo(root, "p000.jpg", row=0, content=made.sha("edited"))
    store.add(store.place_of(root), stored, Batch([edited], (), made.vectors(1, 9)))
    with reading(store.engine) as session:
        assert [tag.label for tag in tags.listed(session)] == ["mine"]


def runs_start(session) -> int:
    from mkt_search.store.sql import runs

    return runs.start_run(session, "tag", {"labels": []}, "test")


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


def test_a_run_that_was_killed_is_called_interrupted_by_the_next_writer(store: Store) -> None:
    with transaction(store.engine) as session:
        runs.start_run(session, "index", {}, "pid 1")
    with store.writing("test"), store.run("index", {}) as run:
        run.summary = {"indexed": 3}
    with reading(store.engine) as session:
        found = [(info.outcome, info.summary) for info in runs.listed(session)]
    assert found == [("interrupted", {}), ("done", {"indexed": 3})]


def test_a_folder_above_known_ones_takes_them_in(store: Store, root: Path) -> None:
    sub = root / "2019"
    sub.mkdir()
    made.fill(store, sub, 1)
    place = store.place_of(root)
    assert (place.prefix, list(store.known(place, store.active))) == ("", ["2019/p000.jpg"])
    below = store.place_of(sub)
    assert (below.id, below.prefix) == (place.id, "2019/")
    assert list(store.known(below, store.active)) == ["2019/p000.jpg"]


def test_a_moved_disk_is_one_update(store: Store, root: Path, tmp_path: Path) -> None:
    made.fill(store, root, 3)
    new = tmp_path / "disk"
    new.mkdir()
    with transaction(store.engine) as session:
        assert photo_queries.move_root(session, root, new) == 3
        assert next(photo_queries.photos(session)).path == new / "p000.jpg"
        with pytest.raises(QueryError, match="no folder of this library"):
            photo_queries.move_root(session, root, new)


def test_filters_hold_together(store: Store, root: Path) -> None:
    facts = [
        PhotoFacts(100, 50, "JPEG", taken_at=datetime(2019, 5, 1), camera="Canon EOS 5D"),
        PhotoFacts(4000, 3000, "JPEG", taken_at=datetime(2020, 5, 1), camera="NIKON D90"),
        PhotoFacts(4000, 200, "PNG"),
    ]
    names = ["2019/beach_1.jpg", "2020/50% off.jpg", "2020/dog.png"]
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="m")
        photos = [made.photo(root, name, row=i, facts=facts[i]) for i, name in enumerate(names)]
        store.add(store.place_of(root), stored, Batch(photos, (), made.vectors(3)))
    assert paths(store, path="2020/*") == names[1:]
    assert paths(store, path="*.jpg") == names[:2]
    assert paths(store, path="50%") == [names[1]]
    assert paths(store, path="h_1") == [names[0]]
    assert paths(store, path="2020/d??.png") == [names[2]]
    assert paths(store, path=f"{root}/2019/*") == [names[0]]
    assert paths(store, after=datetime(2020, 1, 1)) == [names[1]]
    assert paths(store, before=datetime(2020, 1, 1)) == [names[0]]
    assert paths(store, camera="nikon") == [names[1]]
    assert paths(store, min_width=1000, min_height=1000) == [names[1]]
    assert paths(store, path="2020/*", camera="canon") == []


def test_sqlite_runs_with_wal_foreign_keys_and_full_sync(store: Store) -> None:
    with store.engine.connect() as connection:
        values = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous")
        ]
    assert values == ["wal", 1, 2]


def test_a_refused_encoding_leaves_an_unfinished_rebuild(store: Store, root: Path) -> None:
    made.fill(store, root, 2)
    new = store.begin_encoding(made.encoding(m=3), model="made", rebuild=True)
    with pytest.raises(CheckpointMismatch):
        store.begin_encoding(made.encoding(m=4), model="made")
    assert store.building is not None and store.building.id == new.id


def test_a_writer_that_has_read_is_not_overtaken_by_a_reader_that_writes(store: Store) -> None:
    """A search keeps the vectors of its labels; SQLite would fail the run that indexes."""

    def search() -> None:
        with transaction(store.engine) as session:
            runs.remember_labels(session, "encoder", {"dog": b"vector"})

    with ThreadPoolExecutor(1) as pool:
        with transaction(store.engine) as session:
            before = changes.revision(session)
            waiting = pool.submit(search)
            time.sleep(0.2)
            changes.bump(session, ())
        waiting.result()
    assert store.revision() == before + 1


@pytest.mark.parametrize("name", ["what? 2019", "100%25", "a#b", os.fsdecode(b"caf\xe9")])
def test_a_library_can_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Store.create(tmp_path / name / ".mkt").close()
    Store.open(tmp_path / name / ".mkt").close()
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_photo_that_could_not_be_read_for_a_while_keeps_its_bytes_and_no_others(
    store: Store, root: Path
) -> None:
    stored = made.fill(store, root, 1)
    with transaction(store.engine) as session:
        photo = next(photo_queries.photos(session)).id
        tags.add_auto(session, None, [(photo, tags.label_ids(session, ["dog"])["dog"], 0.5)])
    place = store.place_of(root)
    store.add(place, stored, Batch([], [made.failed(root, "p000.jpg", "permission denied")]))
    assert store.known(place, stored)["p000.jpg"].content == made.sha("p000.jpg")
    edited = made.photo(root, "p000.jpg", row=0, content=made.sha("edited"))
    store.add(place, stored, Batch([edited], (), made.vectors(1, 5)))
    with reading(store.engine) as session:
        assert list(tags.listed(session)) == []


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


def test_folders_whose_names_differ_by_case_are_two(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1)
    (root / "A").mkdir()
    copies = [made.photo(root, path, content=made.sha("p000.jpg")) for path in ("A/x", "a/x")]
    store.add(store.place_of(root), stored, Batch(copies))
    assert list(store.known(store.place_of(root / "A"), stored)) == ["A/x"]


def test_segments_are_not_deleted_because_the_database_is_another(
    store: Store, root: Path, tmp_path: Path
) -> None:
    for number in range(3):
        made.fill(store, root, 1, seed=number, name=f"{number}-")
    other = Store.create(store.directory, url=f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(StoreError, match=r"3 files.*right one"), other.writing("mkt index"):
        pass
    assert checks.verify(store) == []


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
