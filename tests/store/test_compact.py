"""Merging segments: which ones, damage, crashes, and snapshots that are open meanwhile."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import LibraryDamaged
from mkt_search.search.search import search
from mkt_search.store import compact as compaction
from mkt_search.store.checks import verify
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.interfaces import WeightedQuery
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.prune import prune
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made

ANY = CompactionPolicy(min_segments=1)


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
    """Every live vector and its members by content id."""
    snapshot = LocalSnapshot.open(store, active(store))
    ids = snapshot.content_ids()
    rows, members = snapshot.vectors(ids).vectors, snapshot.member_patches(ids)
    return {
        content_id: row.tobytes() + member.tobytes()
        for content_id, row, member in zip(ids.tolist(), rows, members, strict=True)
    }


def segments(store: Store) -> int:
    return len(list(store.folder.iterdir()))


def test_large_segments_are_left_alone(store: Store) -> None:
    assert compact(store, active(store), CompactionPolicy(min_segments=2, max_photos=5)) == 0
    assert segments(store) == 10


def test_merged_segments_have_at_most_the_photos_of_the_policy(store: Store) -> None:
    policy = CompactionPolicy(min_segments=2, max_photos=12)
    before = vectors(store)
    assert compact(store, active(store), policy) == 10
    assert segments(store) == 3  # 12 + 12 + 6 photos
    assert vectors(store) == before
    assert compact(store, active(store), policy) == 0


def test_segments_of_large_photos_have_fewer(store: Store) -> None:
    encoding = active(store).encoding
    assert CompactionPolicy().photos_per_segment(encoding) == 8_192
    every_patch = replace(encoding, m=196, dim=512)
    assert CompactionPolicy().photos_per_segment(every_patch) == 793  # of 197 x 512 bytes
    half = replace(every_patch, precision="int4")
    assert CompactionPolicy().photos_per_segment(half) == 1_586
    policy = CompactionPolicy(min_segments=2, max_bytes=12 * (1 + made.M) * made.DIM)
    before = vectors(store)
    compact(store, active(store), policy)
    assert segments(store) == 3
    assert vectors(store) == before


def test_unused_rows_are_left_out(store: Store) -> None:
    gone = [photo.id for photo in store.catalog.photos() if photo.relative.endswith("000.jpg")]
    store.catalog.mark_missing(gone)
    with store.writing("test"):
        prune(store)
        before = vectors(store)
        size = sum(file.stat().st_size for file in store.folder.iterdir())
        compact(store, active(store), ANY)
    assert len(before) == 20
    assert vectors(store) == before
    assert sum(file.stat().st_size for file in store.folder.iterdir()) < size
    assert verify(store) == []


@pytest.mark.parametrize("step", ["write", "commit", "delete"])
def test_a_crash_at_any_step_loses_nothing(
    store: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vectors(store)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if step == "write":
        monkeypatch.setattr(compaction, "write_arrays", crash)
    elif step == "commit":
        monkeypatch.setattr(store.vectors, "replace_segments", crash)
    else:
        monkeypatch.setattr(store, "delete_files", crash)
    with pytest.raises(KeyboardInterrupt):
        compact(store, active(store), ANY)
    monkeypatch.undo()
    assert vectors(store) == before
    with store.writing("test"):  # deletes what the crash left behind
        assert verify(store) == []
    assert vectors(store) == before
    assert segments(store) == (1 if step == "delete" else 10)


@pytest.mark.parametrize("damage", ["short", "flipped"])
def test_a_damaged_segment_is_not_merged_into_a_sound_one(store: Store, damage: str) -> None:
    file = sorted(store.folder.iterdir())[0]
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data[:100] if damage == "short" else data)
    assert compact(store, active(store), ANY) == 9
    assert segments(store) == 2
    assert [problem.where for problem in verify(store)] == [file.name]


def test_an_open_snapshot_follows(store: Store) -> None:
    snapshot = LocalSnapshot.open(store, active(store))
    assert len(snapshot.reader.segments) == 10
    compact(store, active(store), ANY)
    snapshot = snapshot.renewed()
    assert (len(snapshot.content_ids()), len(snapshot.reader.segments)) == (30, 1)


def test_an_open_snapshot_follows_when_a_segment_gets_the_id_of_another(store: Store) -> None:
    compact(store, active(store), ANY)
    snapshot = LocalSnapshot.open(store, active(store))
    gone = [photo.id for photo in store.catalog.photos() if photo.relative.startswith("0-")]
    store.catalog.mark_missing(gone)
    with store.writing("test"):
        prune(store)
        compact(store, active(store), ANY)
    ids = list(snapshot.files)
    snapshot = snapshot.renewed()
    assert list(snapshot.files) == ids and snapshot.facts.photos == 27
    expected = LocalSnapshot.open(store, active(store))
    photos = expected.content_ids()
    found = snapshot.vectors(photos).vectors
    np.testing.assert_array_equal(found, expected.vectors(photos).vectors)


def test_a_snapshot_opened_while_segments_are_merged_reports_damage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of its manifest are gone; `Library.snapshot` then opens it again."""
    manifest = store.vectors.manifest

    def then_merge(*arguments: object, **options: object) -> object:
        monkeypatch.undo()
        found = manifest(*arguments, **options)  # type: ignore[arg-type]
        compact(store, active(store), ANY)
        return found

    monkeypatch.setattr(store.vectors, "manifest", then_merge)
    with pytest.raises(LibraryDamaged):
        LocalSnapshot.open(store, active(store))
    assert LocalSnapshot.open(store, active(store)).facts.photos == 30


def test_photos_of_equal_scores_keep_their_order(store: Store) -> None:
    def order() -> list[int]:
        snapshot = LocalSnapshot.open(store, active(store))
        nothing = WeightedQuery(np.zeros((1, made.DIM), np.float32), np.ones(1, np.float32))
        return search(snapshot, nothing, 30).content_ids.tolist()

    before = order()
    compact(store, active(store), CompactionPolicy(min_segments=2, max_photos=12))
    assert order() == before
