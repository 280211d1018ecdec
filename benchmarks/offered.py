"""The photos of a library as its peers get them: plain arrays, and the true best to find."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from table import Ids
from truth import truth

from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector

AT_ONCE = 256  # photos decoded together


@dataclass(frozen=True)
class Offered:
    """What peers are given of n photos.

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
    index: LocalSnapshot, labels: Vector, best: Ids, *, globals_: bool, fused: int
) -> Offered:
    """Read what the peers get, for as long as the library is there.

    Args:
        index: the vectors; every slot is live.
        labels: (Q, D).
        best: (Q, k), the slots of the true best of all photos.
        globals_: whether any peer takes global vectors.
        fused: photos, drawn at random, whose every fused vector is taken too.
    """
    every = np.arange(len(index))
    some = np.sort(np.random.default_rng(5).permutation(len(index))[:fused])
    best_of_some = best if fused == len(index) else truth(index, labels, best.shape[1], some)
    return Offered(
        _globals(index, every if globals_ else every[:0]),
        labels,
        best,
        some,
        _fused(index, some),
        np.searchsorted(some, best_of_some),
    )


def _globals(index: LocalSnapshot, slots: Ids) -> Vector:
    read = np.empty((len(slots), index.encoding.dim), np.float32)
    for first in range(0, len(slots), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        read[part] = index.read(slots[part])[:, 0]
    return read


def _fused(index: LocalSnapshot, slots: Ids) -> NDArray[np.float16]:
    read = np.empty((len(slots), index.encoding.m, index.encoding.dim), np.float16)
    for first in range(0, len(slots), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        read[part] = fuse(index.read(slots[part]))
    return read
