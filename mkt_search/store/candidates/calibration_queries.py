"""Calibration queries: label vectors like those that people search for."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from mkt_search.scoring import unit
from mkt_search.store.ann.pq_index import Ids
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import runs
from mkt_search.store.sql.database import reading
from mkt_search.store.store import Store
from mkt_search.types import Vector


@dataclass(frozen=True)
class CalibrationQueries:
    """Label vectors (q, D): first the given ones, then remembered ones, then mixed ones."""

    vectors: Vector
    given: int
    remembered: int

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def mixed(self) -> int:
        """How many were made of stored vectors."""
        return len(self.vectors) - self.given - self.remembered


def draw(
    store: Store, index: LocalSnapshot, rng: np.random.Generator, *, count: int, given: Vector
) -> CalibrationQueries:
    """Return all given label vectors (g, D), filled up to `count` where they are fewer.

    Labels that the library remembers come first, mixed stored vectors where those are too few. The
    index must have a live photo.
    """
    known = {row.astype("<f4").tobytes() for row in given}
    labels = remembered(store, index.encoding.dim, rng, most=count - len(given), without=known)
    missing = max(count - len(given) - len(labels), 0)
    rest = mixed(index, np.flatnonzero(index.live), rng, count=missing)
    return CalibrationQueries(np.concatenate([given, labels, rest]), len(given), len(labels))


def remembered(
    store: Store,
    dim: int,
    rng: np.random.Generator,
    *,
    most: int,
    without: Collection[bytes] = (),
) -> Vector:
    """Return (r, D): up to `most` of the label vectors that the database remembers, at random.

    Args:
        store: the library's.
        dim: D; vectors of another length are of another model.
        rng: draws them.
        most: how many at most; none where it is not positive.
        without: bytes of vectors to leave out.
    """
    with reading(store.engine) as session:
        rows = runs.remembered_vectors(session)
    asked = [row for row in rows if len(row) == 4 * dim and row not in without]
    chosen = rng.permutation(len(asked))[: max(most, 0)]
    return np.array([np.frombuffer(asked[i], "<f4") for i in chosen], np.float32).reshape(-1, dim)


def mixed(index: LocalSnapshot, slots: Ids, rng: np.random.Generator, *, count: int) -> Vector:
    """Return unit vectors (count, D), each the mean of stored vectors of two photos in `slots`.

    A stored vector finds its own photo, so those of different photos are mixed. Padding is not.
    """
    photos = rng.choice(slots, 2 * count)
    parts = np.empty((2 * count, index.encoding.dim), np.float32)
    for at in index.blocks(np.arange(2 * count)):
        is_stored = np.pad(index.counts(photos[at]) > 0, ((0, 0), (1, 0)), constant_values=True)
        which = np.argmax(rng.random(is_stored.shape) * is_stored, axis=1)
        parts[at] = index.read(photos[at])[np.arange(len(at)), which]
    return unit(unit(parts[:count]) + unit(parts[count:]))


def share_found(best: Ids, found: Ids) -> float:
    """Return the share of the best (k,) that is among those found; 1 where there are none."""
    return float(np.isin(best, found).mean()) if len(best) else 1.0
