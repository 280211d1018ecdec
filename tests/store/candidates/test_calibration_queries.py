"""Calibration queries: the given vectors, then remembered labels, then mixtures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.scoring import unit
from mkt_search.store.candidates import calibration_queries
from mkt_search.store.candidates.calibration_queries import CalibrationQueries
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A library of 30 photos."""
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 30)
    yield store
    store.close()


def asked(n: int) -> np.ndarray:
    return np.eye(made.DIM, dtype=np.float32)[:n]


REMEMBERED = [
    *(row.astype("<f4").tobytes() for row in asked(3)),
    np.ones(7, "<f4").tobytes(),  # of another model
]


def opened(store: Store) -> LocalSnapshot:
    stored = store.active
    assert stored is not None
    return LocalSnapshot.open(store, stored)


def draw(
    store: Store, count: int, given: np.ndarray | None = None, seed: int = 0
) -> CalibrationQueries:
    rng = np.random.default_rng(seed)
    return calibration_queries.draw(
        opened(store), rng, count=count, remembered=REMEMBERED, given=given
    )


def test_given_labels_come_first_then_remembered_ones_then_mixtures(store: Store) -> None:
    given = unit(np.ones((1, made.DIM), np.float32))
    found = draw(store, 10, given)
    assert (found.given, found.remembered, found.mixed, len(found)) == (1, 3, 6, 10)
    assert np.array_equal(found.vectors[:1], given)
    assert sorted(map(tuple, found.vectors[1:4])) == sorted(map(tuple, asked(3)))
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(10), abs=1e-5)


def test_no_label_is_used_twice(store: Store) -> None:
    found = draw(store, 10, asked(2))
    assert (found.given, found.remembered, found.mixed) == (2, 1, 7)
    assert np.array_equal(found.vectors[2], asked(3)[2])


def test_every_given_label_is_used_however_few_are_wanted(store: Store) -> None:
    found = draw(store, 1, asked(5))
    assert (found.given, found.remembered, found.mixed) == (5, 0, 0)


def test_remembered_labels_are_drawn_where_they_are_too_many(store: Store) -> None:
    drawn = {tuple(draw(store, 1, seed=seed).vectors[0]) for seed in range(20)}
    assert drawn == set(map(tuple, asked(3)))


def test_a_seed_draws_the_same_queries_again(store: Store) -> None:
    one, again, other = (draw(store, 20, seed=seed).vectors for seed in (4, 4, 5))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_mixture_is_the_mean_of_stored_vectors_of_two_live_photos(store: Store) -> None:
    snapshot = opened(store)
    photos = snapshot.content_ids()[[3, 8]]
    stored = snapshot.vectors(photos).vectors.reshape(-1, made.DIM)
    every = unit(stored[stored.any(axis=1)])
    assert len(every) < len(stored)  # some are padding
    pairs = unit((every[:, None] + every[None, :]).reshape(-1, made.DIM))
    rng = np.random.default_rng(0)
    found = calibration_queries.mixed(snapshot, photos, rng, count=300)  # more than one block
    assert len(found) == 300
    assert (found @ pairs.T).max(axis=1) == pytest.approx(np.ones(300), abs=1e-5)


@pytest.mark.parametrize(
    ("best", "found", "share"),
    [([1, 2, 3, 4], [4, 9, 2], 0.5), ([1, 2], [2, 1, 7], 1.0), ([1], [2], 0.0), ([], [1], 1.0)],
)
def test_the_share_found_is_of_the_best(best: list[int], found: list[int], share: float) -> None:
    one, other = np.array(best, np.int64), np.array(found, np.int64)
    assert calibration_queries.share_found(one, other) == share
