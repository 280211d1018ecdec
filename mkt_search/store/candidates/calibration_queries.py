"""Calibration queries: label vectors like those that people search for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from mkt_search.scoring import unit
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

PHOTOS_PER_READ = 256


@dataclass(frozen=True)
class CalibrationQueries:
    """Label vectors (q, D): the given ones, then remembered ones, then mixtures."""

    vectors: Vector
    given: int
    remembered: int

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def mixed(self) -> int:
        """The number of mixtures of stored vectors."""
        return len(self.vectors) - self.given - self.remembered


def draw(
    snapshot: Snapshot,
    rng: np.random.Generator,
    *,
    count: int,
    remembered: Sequence[bytes],
    given: Vector | None = None,
) -> CalibrationQueries:
    """Return all given label vectors, filled up to `count` queries.

    Args:
        snapshot: vectors of at least one photo.
        rng: draws the remembered vectors and the mixtures.
        count: queries wanted; all given ones are kept even if they are more.
        remembered: float32 bytes of label vectors that were searched for before. They are used
            before mixtures; those of another length belong to another model and are left out.
        given: (g, D); None is none.
    """
    dim = snapshot.facts.encoding.dim
    given = np.empty((0, dim), np.float32) if given is None else given
    known = {row.astype("<f4").tobytes() for row in given}
    labels = _drawn(remembered, rng, dim=dim, count=count - len(given), without=known)
    missing = max(count - len(given) - len(labels), 0)
    mixtures = mixed(snapshot, snapshot.content_ids(), rng, count=missing)
    return CalibrationQueries(np.concatenate([given, labels, mixtures]), len(given), len(labels))


def _drawn(
    remembered: Sequence[bytes],
    rng: np.random.Generator,
    *,
    dim: int,
    count: int,
    without: Collection[bytes],
) -> Vector:
    """Return (r, D): up to `count` of the remembered vectors of length D, in random order."""
    usable = [row for row in remembered if len(row) == 4 * dim and row not in without]
    chosen = rng.permutation(len(usable))[: max(count, 0)]
    return np.array([np.frombuffer(usable[i], "<f4") for i in chosen], np.float32).reshape(-1, dim)


def mixed(
    snapshot: Snapshot, content_ids: ContentIds, rng: np.random.Generator, *, count: int
) -> Vector:
    """Return unit vectors (count, D), each the mean of one stored vector of two photos.

    A stored vector alone would find its own photo. Padding is never drawn.
    """
    photos = rng.choice(content_ids, 2 * count)
    parts = np.empty((2 * count, snapshot.facts.encoding.dim), np.float32)
    for first in range(0, 2 * count, PHOTOS_PER_READ):
        at = slice(first, first + PHOTOS_PER_READ)
        vectors, counts = snapshot.vectors(photos[at])  # (n, 1 + m, D), (n, m)
        is_stored = np.pad(counts > 0, ((0, 0), (1, 0)), constant_values=True)  # (n, 1 + m)
        which = np.argmax(rng.random(is_stored.shape) * is_stored, axis=1)  # (n,)
        parts[at] = vectors[np.arange(len(vectors)), which]
    return unit(unit(parts[:count]) + unit(parts[count:]))


def share_found(best: ContentIds, found: ContentIds) -> float:
    """Return the share of the best (k,) that is among those found; 1 if there are none."""
    return float(np.isin(best, found).mean()) if len(best) else 1.0
