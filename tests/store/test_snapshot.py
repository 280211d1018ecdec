"""`LocalSnapshot`: content ids in and out, whatever rows and segments lie behind them."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from mkt_search.errors import LibraryDamaged
from mkt_search.scoring import score
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.checks import verify
from mkt_search.store.interfaces import WeightedQuery
from mkt_search.store.optimize import optimize
from mkt_search.store.segments.coding import decode, encode
from mkt_search.store.snapshot import LocalSnapshot, RenewPolicy
from mkt_search.store.sql.database import transaction
from mkt_search.store.store import Store
from mkt_search.types import Filters
from tests import made

EACH, SEGMENTS = 8, 3
N = EACH * SEGMENTS
VECTORS = [made.vectors(EACH, seed) for seed in range(SEGMENTS)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A library of three segments."""
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    for seed in range(SEGMENTS):
        made.fill(store, tmp_path / "photos", EACH, seed=seed, name=f"p{seed}")
    yield store
    store.close()


def opened(store: Store) -> LocalSnapshot:
    assert store.active is not None
    return LocalSnapshot.open(store, store.active)


@pytest.fixture
def written() -> np.ndarray:
    """What the segments were written from, (N, 1 + m, D), coded and decoded."""
    parts = [np.concatenate([v.global_vectors[:, None], v.local_vectors], axis=1) for v in VECTORS]
    return decode(*encode(np.concatenate(parts), "int8"), "int8", made.DIM)


def remove(store: Store, content_ids: list[int]) -> None:
    """Mark the photos of some contents as missing."""
    photos = store.catalog.photos_of_contents(content_ids, Filters())
    store.catalog.mark_missing([photo.id for some in photos.values() for photo in some])


def test_content_ids_give_the_vectors_that_were_written(store: Store, written: np.ndarray) -> None:
    snapshot = opened(store)
    ids = snapshot.content_ids()
    assert len(ids) == N == snapshot.facts.photos
    at = np.array([20, 3, 3, 9, 0, 20])
    vectors, counts = snapshot.vectors(ids[at])
    np.testing.assert_array_equal(vectors, written[at])
    np.testing.assert_array_equal(snapshot.global_vectors(ids[at]), written[at, 0])
    members = np.concatenate([v.members for v in VECTORS])[at]
    np.testing.assert_array_equal(counts, members.sum(axis=2))
    np.testing.assert_array_equal(snapshot.member_patches(ids[at]), members)
    labels = np.random.default_rng(1).standard_normal((3, made.DIM)).astype(np.float32)
    products, again = snapshot.similarities(ids[at], labels)
    np.testing.assert_allclose(products, written[at] @ labels.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(again, counts)


def test_a_filter_keeps_live_ids_once_and_in_storage_order(store: Store) -> None:
    ids = opened(store).content_ids().tolist()
    remove(store, [ids[4]])
    snapshot = opened(store)
    assert snapshot.content_ids().tolist() == ids[:4] + ids[5:]
    among = np.array([ids[9], ids[4], ids[2], ids[9], 10**9, -1])
    assert snapshot.content_ids(among).tolist() == [ids[2], ids[9]]
    assert len(snapshot.content_ids(among[:0])) == 0


def test_an_id_that_is_not_live_is_refused(store: Store) -> None:
    gone = int(opened(store).content_ids()[4])
    remove(store, [gone])
    snapshot = opened(store)
    for content_id in (gone, -1, 10**9):
        with pytest.raises(LookupError, match=f"content id {content_id} is not"):
            snapshot.vectors(np.array([content_id]))


def test_the_scan_bounds_every_photo_it_leaves_out(store: Store) -> None:
    snapshot, rng = opened(store), np.random.default_rng(3)
    ids = snapshot.content_ids()
    vectors, counts = snapshot.vectors(ids)
    for label in rng.standard_normal((5, made.DIM)).astype(np.float32):
        exact = score(label[None], vectors[:, 0], vectors[:, 1:], counts, k=made.TOP_K)
        by_id = dict(zip(ids.tolist(), exact.fused[:, 0].tolist(), strict=True))
        for allowed in (None, ids[::2]):
            found = snapshot.scan(label, vectors=9, allowed=allowed)
            left_out = set((ids if allowed is None else allowed).tolist())
            left_out -= set(found.content_ids.tolist())
            assert all(by_id[content_id] <= found.bound + 1e-4 for content_id in left_out)
            pairs = zip(found.content_ids.tolist(), found.upper.tolist(), strict=True)
            assert all(by_id[content_id] <= upper + 1e-4 for content_id, upper in pairs)


def test_the_scan_is_built_when_first_needed_and_extended_by_new_photos(store: Store) -> None:
    snapshot, label = opened(store), np.ones(made.DIM, np.float32)
    assert snapshot.facts.photos_to_scan == N and not snapshot.facts.scan_is_built
    snapshot.scan(label, vectors=5)
    assert snapshot.facts.scan_is_built
    made.fill(store, store.directory.parent / "photos", 5, seed=9, name="new")
    newer = snapshot.renewed()
    assert newer.facts.photos_to_scan == 5
    found = newer.scan(label, vectors=10_000)
    assert sorted(found.content_ids.tolist()) == sorted(newer.content_ids().tolist())
    assert snapshot.facts.photos == N  # the older snapshot has not changed


def test_photos_that_were_scored_are_counted_across_renewals(store: Store) -> None:
    snapshot, labels = opened(store), np.ones((1, made.DIM), np.float32)
    snapshot.similarities(snapshot.content_ids(), labels)
    snapshot.similarities(snapshot.content_ids()[:3], labels)
    assert snapshot.facts.photos_scored == N + 3
    remove(store, snapshot.content_ids()[:1].tolist())
    assert snapshot.renewed().facts.photos_scored == N + 3


def test_renewing_without_a_change_returns_the_same_snapshot(store: Store) -> None:
    snapshot = opened(store)
    assert snapshot.renewed() is snapshot


def test_a_library_without_photos_has_no_vectors(tmp_path: Path) -> None:
    store = Store.create(tmp_path / ".mkt")
    snapshot = LocalSnapshot.open(store, store.begin_encoding(made.encoding(), model="made"))
    nothing, labels = snapshot.content_ids(), np.ones((2, made.DIM), np.float32)
    assert len(nothing) == 0 and snapshot.candidate_index is None
    assert snapshot.vectors(nothing).vectors.shape == (0, 1, made.DIM)
    assert snapshot.similarities(nothing, labels).products.shape == (0, 1, 2)
    assert len(snapshot.scan(labels[0], vectors=5).content_ids) == 0
    store.close()


def test_the_candidate_index_tells_apart_what_it_has_and_what_is_newer(tmp_path: Path) -> None:
    store = made.optimized(tmp_path, 300)
    made.fill(store, tmp_path / "photos", 4, seed=9, name="new")
    snapshot = opened(store)
    index, ids = snapshot.candidate_index, snapshot.content_ids()
    assert index is not None and (index.photos, index.newer) == (300, 4)
    label = np.random.default_rng(0).standard_normal((1, made.DIM)).astype(np.float32)
    query = WeightedQuery(label, np.ones(1, np.float32))
    found = snapshot.candidates(query, k=3, probes=400)
    assert len(found.candidates) == 3 * index.shortlist_per_k
    assert set(found.newer.tolist()) == set(ids[300:].tolist())
    few = snapshot.candidates(query, k=3, probes=400, allowed=ids[290:302])
    assert set(few.candidates.tolist()) <= set(ids[290:300].tolist())
    assert few.newer.tolist() == ids[300:302].tolist()
    store.close()


def test_an_unchanged_library_renews_to_the_same_snapshot(store: Store) -> None:
    snapshot = opened(store)
    assert snapshot.renewed() is snapshot


def test_a_renewed_snapshot_shares_the_scan_and_the_candidate_index(store: Store) -> None:
    active = store.active
    assert active is not None
    policy = BuildPolicy(min_photos=20, calibration_labels=4, calibration_pairs=2)
    with store.writing("test"):
        optimize(store, active, policy=policy)
    snapshot = LocalSnapshot.open(store, active, policy=RenewPolicy(max_stale_share=0.9))
    snapshot.scan(np.ones(made.DIM, np.float32), vectors=5)
    index = snapshot.pq_index
    assert index is not None
    made.fill(store, store.directory.parent / "photos", 2, seed=9, name="new")
    later = snapshot.renewed()
    assert later.pq_index is index
    assert (snapshot.facts.photos_to_scan, later.facts.photos_to_scan) == (0, 2)
    with store.writing("test"):
        optimize(store, active, policy=policy)
    assert later.renewed().pq_index is not index


@pytest.mark.parametrize("harm", ["missing", "short", "flipped"])
def test_without_its_row_map_the_database_is_read(
    store: Store, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    active = store.active
    assert active is not None
    policy = BuildPolicy(min_photos=20, calibration_labels=4, calibration_pairs=2)
    with store.writing("test"):
        optimize(store, active, policy=policy)
    expected = opened(store).vector_rows().tolist()
    [file] = store.index_folder.glob("*.rows")
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.unlink()
    if harm != "missing":
        file.write_bytes(data[:-8] if harm == "short" else data)
    with caplog.at_level(logging.WARNING):
        assert sorted(opened(store).vector_rows().tolist()) == sorted(expected)
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith(f"The row map {file.name}") and "`mkt repair`" in warning
    [problem] = verify(store)
    assert problem.candidate_index and problem.where == file.name


def test_rows_that_do_not_fit_their_segments_are_damage(store: Store) -> None:
    active = store.active
    assert active is not None
    manifest = store.manifest(active.id)
    segment = opened(store).reader.segments[0]
    for wrong in ([1, EACH, 1], [2, 0, 1]):
        bad = replace(manifest, live=np.array([wrong]))
        with pytest.raises(LibraryDamaged, match="Run `mkt"):
            LocalSnapshot(store, active, bad, (segment,), {1: 0})


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def test_swapped_segments_are_damage_from_the_start(store: Store) -> None:
    swap(*sorted(store.folder.iterdir())[:2])
    with pytest.raises(LibraryDamaged, match=r"vectors of other photos.*mkt repair"):
        opened(store)


def test_vectors_whose_bytes_have_changed_are_not_given(store: Store) -> None:
    snapshot = opened(store)
    ids = snapshot.content_ids()
    segment = store.folder / snapshot.reader.segments[0].name
    flip(segment, segment.read_bytes().index(snapshot.reader.segments[0].codes[3].tobytes()))
    for read in (snapshot.vectors, snapshot.checked_contents):
        with pytest.raises(LibraryDamaged, match=r"bytes have changed.*mkt repair"):
            read(ids[3:4])
        read(np.delete(ids, 3))
    with pytest.raises(LibraryDamaged, match="bytes have changed"):
        snapshot.scan(np.ones(made.DIM, np.float32), vectors=3)


def test_a_row_that_names_the_vectors_of_another_photo_is_not_read(store: Store) -> None:
    with transaction(store.catalog.engine) as session:
        swapped = text("UPDATE vector SET row = 5 - row WHERE row IN (2, 3) AND segment_id = 1")
        session.execute(swapped)
    snapshot = opened(store)
    ids = snapshot.content_ids()
    snapshot.vectors(ids[4:])
    with pytest.raises(LibraryDamaged, match="vectors of other photos"):
        snapshot.vectors(ids)
