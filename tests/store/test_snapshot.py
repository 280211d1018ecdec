"""The vectors of a library as one whole: read from several segments, in any order, as they were."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.store import snapshot as vectors
from mkt_search.store.segments.coding import decode, encode
from mkt_search.store.segments.segment import Segment
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made

EACH, SEGMENTS = 7, 3
N = EACH * SEGMENTS
EVERY = [made.vectors(EACH, seed) for seed in range(SEGMENTS)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSnapshot]:
    home = tmp_path_factory.mktemp("library")
    (home / "photos").mkdir()
    store = Store.create(home / ".mkt")
    for seed in range(SEGMENTS):
        stored = made.fill(store, home / "photos", EACH, seed=seed, name=f"p{seed}")
    yield LocalSnapshot.open(store, stored)
    store.close()


@pytest.fixture(scope="module")
def rows(index: LocalSnapshot) -> np.ndarray:
    """What the segments were written from, (N, 1 + m, D), coded and decoded."""
    parts = [np.concatenate([v.global_[:, None], v.local_vectors], axis=1) for v in EVERY]
    assert len(index.segments) == SEGMENTS
    return decode(*encode(np.concatenate(parts), "int8"), "int8", made.DIM)


ORDERS = {
    "as they lie": np.arange(N),
    "scattered": np.random.default_rng(0).permutation(N),
    "some, again and again": np.array([20, 3, 3, 9, 0, 20]),
    "of one segment, backwards": np.arange(EACH)[::-1],
    "none": np.empty(0, np.int64),
}


@pytest.mark.parametrize("slots", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("together", [1, 4, vectors.TOGETHER])
def test_slots_in_any_order_give_what_was_written(
    index: LocalSnapshot,
    rows: np.ndarray,
    slots: np.ndarray,
    together: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vectors, "TOGETHER", together)
    labels = np.random.default_rng(1).standard_normal((3, made.DIM)).astype(np.float32)
    members = np.concatenate([v.members for v in EVERY])
    np.testing.assert_array_equal(index.read(slots), rows[slots])
    products = rows[slots] @ labels.T
    np.testing.assert_allclose(index.similarities(slots, labels), products, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(index.counts(slots), members[slots].sum(axis=2))
    np.testing.assert_array_equal(index.member_patches(slots), members[slots])


@pytest.mark.parametrize("together", [1, 4, vectors.TOGETHER])
def test_products_of_single_vectors_are_those_of_what_was_written(
    index: LocalSnapshot, rows: np.ndarray, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "TOGETHER", together)
    rng = np.random.default_rng(2)
    slots, which = np.sort(rng.integers(0, N, 40)), rng.integers(0, made.M, 40)
    label = rng.standard_normal(made.DIM).astype(np.float32)
    expected = (rows[slots, 0] + rows[slots, 1 + which]) @ label
    np.testing.assert_allclose(index.fused_products(slots, which, label), expected, atol=1e-4)
    nothing = np.empty(0, np.int64)
    assert len(index.fused_products(nothing, nothing, label)) == 0


@pytest.mark.parametrize(("seconds", "asks"), [(-1.0, True), (1e9, False)])
def test_rows_that_take_long_are_asked_for_ahead_and_are_the_same(
    index: LocalSnapshot,
    rows: np.ndarray,
    seconds: float,
    asks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vectors, "FEW", 4)
    monkeypatch.setattr(vectors, "PROBES", 3)
    monkeypatch.setattr(vectors, "FROM_DISK", seconds)
    asked: list[int] = []
    ahead = Segment.ahead

    def told(self: Segment, rows: np.ndarray, *arrays: np.ndarray) -> None:
        asked.extend(rows.tolist())
        ahead(self, rows, *arrays)

    monkeypatch.setattr(Segment, "ahead", told)
    slots = np.array([1, 4, 8, 12, 20])
    label = np.random.default_rng(3).standard_normal((1, made.DIM)).astype(np.float32)
    products = index.similarities(slots, label)
    np.testing.assert_allclose(products[..., 0], rows[slots] @ label[0], atol=1e-4)
    assert asked == ([1, 4, 1, 5, 6] if asks else [])
    fused = index.fused_products(slots, np.zeros(5, np.int64), label[0])
    np.testing.assert_allclose(fused, (rows[slots, 0] + rows[slots, 1]) @ label[0], atol=1e-4)
    counts = np.concatenate([v.counts for v in EVERY])[slots]
    np.testing.assert_array_equal(index.counts(slots), counts)
    assert len(asked) == (3 * 5 if asks else 0)
    index.similarities(np.arange(N), label)  # all in a row: few requests, whatever they take
    assert len(asked) == (3 * 5 if asks else 0) + N


def test_a_slot_there_is_not_is_refused(index: LocalSnapshot) -> None:
    for slot in (-1, N):
        with pytest.raises(IndexError):
            index.read(np.array([slot]))


def test_a_library_without_photos_has_no_vectors(tmp_path: Path) -> None:
    store = Store.create(tmp_path / ".mkt")
    index = LocalSnapshot.open(store, store.begin_encoding(made.encoding(), model="made"))
    nothing = np.empty(0, np.int64)
    assert index.read(nothing).shape == (0, 1, made.DIM)
    assert index.similarities(nothing, np.ones((2, made.DIM), np.float32)).shape == (0, 1, 2)
