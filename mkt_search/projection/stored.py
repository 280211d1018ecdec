"""A map as it is kept: the point of every content, and what new photos are placed by.

A content is known by its key, the first eight bytes of its SHA-256, so that a map fits wherever the
same photos are, and never gives a photo the point of another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.projection.anchors import Anchors
from mkt_search.projection.clusters import Cluster, centers_of, means_of, names_of, nearest
from mkt_search.projection.plane import Axes, laid_out
from mkt_search.scoring import unit
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

SAMPLE = 20_000  # photos that are laid out; the others are placed among them
PHOTOS_AT_ONCE = 8_192  # read and placed together: 16 MB of vectors of 512 numbers
BLOCKS_PER_RELEASE = 16
READING, PLACING = "reading vectors", "placing photos"

Keys = NDArray[np.uint64]

NamedLabels = tuple[Sequence[str], Vector]
"""L labels and their unit vectors (L, D)."""


class Contents(NamedTuple):
    """Contents by rising key: `keys` (n,) and `ids` (n,)."""

    keys: Keys
    ids: ContentIds

    def among(self, chosen: NDArray[np.bool_]) -> "Contents":
        """Return those that a mask (n,) chooses."""
        return Contents(self.keys[chosen], self.ids[chosen])


@dataclass(frozen=True)
class StoredMap:
    """The points (n, 2) of contents by their keys (n,), which rise.

    `encoding` is the fingerprint of the vectors, `revision` that of the library, and `seed` of the
    sample and its layout.
    """

    encoding: str
    revision: int
    seed: int
    keys: Keys
    points: Vector
    anchors: Anchors
    clusters: tuple[Cluster, ...]

    def rows_of(self, keys: Keys) -> NDArray[np.int64]:
        """Return the row of each key (k,), -1 for one that is not on the map."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[rows] == keys, rows, -1)


def project(
    snapshot: Snapshot,
    contents: Contents,
    labels: Callable[[], NamedLabels],
    *,
    seed: int = 0,
    sample: int = SAMPLE,
    progress: ProgressCallback = no_progress,
) -> StoredMap:
    """Return a new map of contents that are in a snapshot.

    Args:
        snapshot: the vectors.
        contents: what to show.
        labels: gives those to name clusters by.
        seed: of the sample and its layout.
        sample: how many photos are laid out.
        progress: called as work advances; what it raises stops the work.

    Raises:
        LibraryDamaged: a vector is not a number.
        MapError: openTSNE is not installed.
    """
    total = len(contents.ids)
    chosen = np.zeros(total, np.bool_)
    picked = np.random.default_rng(seed).choice(total, min(total, sample), replace=False)
    chosen[picked] = True
    vectors = np.empty((len(picked), snapshot.facts.encoding.dim), np.float32)
    for part in _parts(len(picked)):
        progress(Progress(READING, part.start, len(picked)))
        vectors[part] = _unit_vectors(snapshot, contents.ids[chosen][part])
    snapshot.release_pages()
    axes = Axes.of(vectors)
    coordinates = axes.coordinates(vectors)
    laid = laid_out(coordinates, seed=seed, progress=progress)
    anchors = Anchors(axes, coordinates, laid)
    points = np.empty((total, 2), np.float32)
    points[chosen] = laid
    points[~chosen] = _placed(snapshot, contents.ids[~chosen], anchors, progress)
    return StoredMap(
        encoding=snapshot.facts.encoding.fingerprint,
        revision=snapshot.facts.revision,
        seed=seed,
        keys=contents.keys,
        points=points,
        anchors=anchors,
        clusters=_clusters(laid, vectors, labels, seed=seed),
    )


def grow(
    old: StoredMap,
    snapshot: Snapshot,
    contents: Contents,
    *,
    progress: ProgressCallback = no_progress,
) -> StoredMap:
    """Return the map with the contents of now: known ones where they were, new ones placed.

    Args:
        old: a map of the same encoding.
        snapshot: the vectors.
        contents: what to show.
        progress: called as work advances; what it raises stops the work.

    Raises:
        LibraryDamaged: a vector is not a number.
    """
    rows = old.rows_of(contents.keys)
    points = np.empty((len(rows), 2), np.float32)
    is_known = rows >= 0
    points[is_known] = old.points[rows[is_known]]
    points[~is_known] = _placed(snapshot, contents.ids[~is_known], old.anchors, progress)
    return replace(old, revision=snapshot.facts.revision, keys=contents.keys, points=points)


def _placed(
    snapshot: Snapshot, ids: ContentIds, anchors: Anchors, progress: ProgressCallback
) -> Vector:
    """Return the points (n, 2) of contents among the anchors; memory stays bounded."""
    points = np.empty((len(ids), 2), np.float32)
    order = np.argsort(ids, kind="stable")  # about as they lie on disk
    for number, part in enumerate(_parts(len(ids)), start=1):
        progress(Progress(PLACING, part.start, len(ids)))
        at = order[part]
        points[at] = anchors.place(_unit_vectors(snapshot, ids[at]))
        if number % BLOCKS_PER_RELEASE == 0:
            snapshot.release_pages()
    return points


def _unit_vectors(snapshot: Snapshot, ids: ContentIds) -> Vector:
    vectors = unit(snapshot.global_vectors(ids))
    if not np.isfinite(vectors).all():
        raise LibraryDamaged("A stored vector is not a number. Run `mkt verify`.")
    return vectors


def _clusters(
    points: Vector, vectors: Vector, labels: Callable[[], NamedLabels], *, seed: int
) -> tuple[Cluster, ...]:
    """Return the clusters of the sample at both levels, with names."""
    levels = centers_of(points, seed=seed)
    known, label_vectors = labels() if levels else ((), vectors)
    found: list[Cluster] = []
    for level, centers in enumerate(levels):
        names = [""] * len(centers)
        if len(known):
            means = means_of(vectors, nearest(points, centers), len(centers))
            names = names_of(means, known, label_vectors)
        found += [
            Cluster(level, x, y, name) for (x, y), name in zip(centers.tolist(), names, strict=True)
        ]
    return tuple(found)


def _parts(count: int) -> list[slice]:
    firsts = range(0, count, PHOTOS_AT_ONCE)
    return [slice(first, min(first + PHOTOS_AT_ONCE, count)) for first in firsts]
