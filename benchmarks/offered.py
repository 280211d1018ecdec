"""The photos of a library as its peers get them: plain arrays, and the true best to find."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from table import Ids
from truth import truth

from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

PHOTOS_PER_READ = 256


@dataclass(frozen=True)
class Offered:
    """What peers are given of n photos, numbered in storage order.

    `globals` (n, D) float32; `labels` (Q, D) and their true best `best` (Q, k), numbers below n.
    `some` (p,) are those whose fused vectors are `fused` (p, m, D) float16; `best_of_some` (Q, k)
    are the true best of these alone, numbers below p.
    """

    globals: Vector
    labels: Vector
    best: Ids
    some: Ids
    fused: NDArray[np.float16]
    best_of_some: Ids


def offer(
    snapshot: Snapshot, labels: Vector, best: ContentIds, *, globals_: bool, fused: int
) -> Offered:
    """Read what the peers get, for as long as the library is there.

    Args:
        snapshot: the stored vectors.
        labels: (Q, D).
        best: (Q, k), the content ids of the true best of all photos.
        globals_: whether any peer takes global vectors.
        fused: photos, drawn at random, whose every fused vector is taken too.
    """
    every = snapshot.content_ids()
    some = np.sort(np.random.default_rng(5).permutation(len(every))[:fused])
    best_of_some = best
    if fused < len(every):
        best_of_some = truth(snapshot, labels, best.shape[1], every[some])
    return Offered(
        _globals(snapshot, every if globals_ else every[:0]),
        labels,
        _numbers(best, every),
        some,
        _fused(snapshot, every[some]),
        _numbers(best_of_some, every[some]),
    )


def _numbers(content_ids: ContentIds, among: ContentIds) -> Ids:
    """Return where each content id is among others, which have it."""
    order = np.argsort(among)
    found = np.searchsorted(among, content_ids, sorter=order)
    return order[np.minimum(found, len(order) - 1)] if len(order) else found


def _globals(snapshot: Snapshot, content_ids: ContentIds) -> Vector:
    read = np.empty((len(content_ids), snapshot.facts.encoding.dim), np.float32)
    for first in range(0, len(content_ids), PHOTOS_PER_READ):
        part = slice(first, first + PHOTOS_PER_READ)
        read[part] = snapshot.vectors(content_ids[part]).vectors[:, 0]
    return read


def _fused(snapshot: Snapshot, content_ids: ContentIds) -> NDArray[np.float16]:
    encoding = snapshot.facts.encoding
    read = np.empty((len(content_ids), encoding.m, encoding.dim), np.float16)
    for first in range(0, len(content_ids), PHOTOS_PER_READ):
        part = slice(first, first + PHOTOS_PER_READ)
        read[part] = fuse(snapshot.vectors(content_ids[part]).vectors)
    return read
