"""Merging segments changes files, not one bit of a vector."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import LibraryDamaged
from mkt_search.search.search import search
from mkt_search.store import checks, compact
from mkt_search.store.interfaces import WeightedQuery
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import encodings
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.database import reading
from mkt_search.store.store import Store, StoredEncoding
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Ten small segments of three photos each."""
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    for number in range(10):
        made.fill(store, tmp_path / "photos", 3, seed=number, name=f"{number}-")
    return store


def active(store: Store) -> StoredEncoding:
    found = store.active
    assert found is not None
    return found


def vectors(store: Store) -> dict[int, bytes]:
    """Every live vector by the content it belongs to."""
    snapshot = LocalSnapshot.open(store, active(store))
    ids = snapshot.content_ids()
    rows, members = snapshot.vectors(ids).vectors, snapshot.member_patches(ids)
    return {
        content_id: row.tobytes() + member.tobytes()
        for content_id, row, member in zip(ids.tolist(), rows, members, strict=True)
    }


def segments(store: Store) -> int:
    return len(list(store.folder.iterdir()))


def test_merged_segments_hold_the_same_vectors(store: Store) -> None:
    before = vectors(store)
    assert len(before) == 30
    assert compact.compact(store, active(store), fewest=2) == 10
    assert segments(store) == 1
    assert vectors(store) == before
    assert checks.verify(store) == []


def test_few_segments_and_large_ones_are_left_alone(store: Store, monkeypatch) -> None:
    assert compact.compact(store, active(store), fewest=11) == 0
    monkeypatch.setattr(compact, "LARGE", 5)
    assert compact.compact(store, active(store), fewest=2) == 0
    assert segments(store) == 10


def test_merged_segments_stay_below_the_size_of_large_ones(store: Store, monkeypatch) -> None:
    monkeypatch.setattr(compact, "LARGE", 12)
    before = vectors(store)
    compact.compact(store, active(store), fewest=2)
    assert segments(store) == 3  # 12 + 12 + 6 photos
    assert vectors(store) == before
    assert compact.compact(store, active(store), fewest=2) == 0


def test_segments_of_large_photos_hold_fewer(store: Store, monkeypatch) -> None:
    stored = active(store)
    assert compact.large(stored) == compact.LARGE
    every_patch = replace(stored, encoding=replace(stored.encoding, m=196, dim=512))
    assert compact.large(every_patch) == 793  # of 197 x 512 bytes
    monkeypatch.setattr(compact, "LARGE_BYTES", 12 * (1 + made.M) * made.DIM)
    before = vectors(store)
    compact.compact(store, stored, fewest=2)
    assert segments(store) == 3
    assert vectors(store) == before


def test_rows_that_nobody_needs_are_left_out(store: Store) -> None:
    with reading(store.engine) as session:
        gone = [r.id for r in photo_queries.photos(session) if r.relative.endswith("000.jpg")]
    store.mark_missing(gone)
    with store.writing("test"):
        checks.prune(store, dry_run=False)
        before = vectors(store)
        size = sum(file.stat().st_size for file in store.folder.iterdir())
        compact.compact(store, active(store), fewest=1)
    assert len(before) == 20
    assert vectors(store) == before
    assert sum(file.stat().st_size for file in store.folder.iterdir()) < size
    assert checks.verify(store) == []


@pytest.mark.parametrize("step", ["write_arrays", "_forget", "remove_files"])
def test_a_crash_at_any_step_loses_nothing(store: Store, step: str, monkeypatch) -> None:
    before = vectors(store)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store if step == "remove_files" else compact, step, crash)
    with pytest.raises(KeyboardInterrupt):
        compact.compact(store, active(store), fewest=2)
    monkeypatch.undo()
    assert vectors(store) == before
    with store.writing("test"):  # removes what the crash left behind
        assert checks.verify(store) == []
    assert vectors(store) == before


def test_an_open_index_follows(store: Store) -> None:
    snapshot = LocalSnapshot.open(store, active(store))
    assert len(snapshot.reader.segments) == 10
    compact.compact(store, active(store), fewest=2)
    snapshot = snapshot.renewed()
    assert (len(snapshot.content_ids()), len(snapshot.reader.segments)) == (30, 1)


def test_a_damaged_segment_is_not_merged_into_a_sound_one(store: Store) -> None:
    file = sorted(store.folder.iterdir())[0]
    file.write_bytes(file.read_bytes()[:100])
    assert compact.compact(store, active(store), fewest=2) == 9
    assert segments(store) == 2
    assert [problem.where for problem in checks.verify(store)] == [file.name]


def test_a_flipped_bit_does_not_get_a_digest_that_says_it_is_right(store: Store) -> None:
    file = sorted(store.folder.iterdir())[0]
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    assert compact.compact(store, active(store), fewest=2) == 9
    assert [problem.where for problem in checks.verify(store)] == [file.name]


def test_an_open_index_follows_when_a_segment_gets_the_id_of_another(store: Store) -> None:
    compact.compact(store, active(store), fewest=2)
    index = LocalSnapshot.open(store, active(store))
    with reading(store.engine) as session:
        gone = [r.id for r in photo_queries.photos(session) if r.relative.startswith("0-")]
    store.mark_missing(gone)
    with store.writing("test"):
        checks.prune(store, dry_run=False)
        compact.compact(store, active(store), fewest=1)
    ids = list(index.files)
    index = index.renewed()
    assert list(index.files) == ids and index.facts.photos == 27
    expected = LocalSnapshot.open(store, active(store))
    photos = expected.content_ids()
    np.testing.assert_array_equal(index.vectors(photos).vectors, expected.vectors(photos).vectors)


def test_an_index_sees_one_moment_while_segments_are_merged(store: Store, monkeypatch) -> None:
    live_vectors = encodings.live_vectors

    def merge_first(session, encoding_id: int):
        monkeypatch.undo()
        compact.compact(store, active(store), fewest=2)
        return live_vectors(session, encoding_id)

    monkeypatch.setattr(encodings, "live_vectors", merge_first)
    with pytest.raises(LibraryDamaged):  # the files are gone; `Library.index` asks again
        LocalSnapshot.open(store, active(store))
    assert LocalSnapshot.open(store, active(store)).facts.photos == 30


def test_photos_of_one_score_keep_their_order_when_segments_are_merged(store: Store) -> None:
    def order() -> list[int]:
        snapshot = LocalSnapshot.open(store, active(store))
        nothing = WeightedQuery(np.zeros((1, made.DIM), np.float32), np.ones(1, np.float32))
        return search(snapshot, nothing, 30).content_ids.tolist()

    before = order()
    parts = [compact._opened(store, active(store), p) for p in compact._small(store, active(store))]
    compact._merge(store, active(store), [part for part in parts[:3] if part is not None])
    assert order() == before
