"""The vectors of a library as plain arrays for its peers, and the true best photos to find."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from search_table import Ids
from truth import truth

from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

PHOTOS_PER_READ = 256


@dataclass(frozen=True)
class PeerData:
    """What peers search: n photos, numbered in storage order.

    `global_vectors` (n, D) float32; `labels` (Q, D) and their true best `best` (Q, k), numbers
    below n. `sample` (p,) are photos whose fused vectors are `fused` (p, m, D) float16;
    `best_of_sample` (Q, k) are the true best of these alone, numbers below p.
    """

    global_vectors: Vector
    labels: Vector
    best: Ids
    sample: Ids
    fused: NDArray[np.float16]
    best_of_sample: Ids


def read_peer_data(
    snapshot: Snapshot, labels: Vector, best: ContentIds, *, with_global: bool, sample: int
) -> PeerData:
    """Read what the peers search, while the library exists.

    Args:
        snapshot: the stored vectors.
        labels: (Q, D).
        best: (Q, k), the content ids of the true best of all photos.
        with_global: whether any peer takes global vectors.
        sample: photos, drawn at random, whose fused vectors are read as well.
    """
    every = snapshot.content_ids()
    drawn = np.sort(np.random.default_rng(5).permutation(len(every))[:sample])
    best_of_sample = best
    if sample < len(every):
        best_of_sample = truth(snapshot, labels, best.shape[1], every[drawn])
    return PeerData(
        _global_vectors(snapshot, every if with_global else every[:0]),
        labels,
        _positions(best, every),
        drawn,
        _fused(snapshot, every[drawn]),
        _positions(best_of_sample, every[drawn]),
    )


def _positions(content_ids: ContentIds, among: ContentIds) -> Ids:
    """Return the position of each content id in `among`, which has all of them."""
    order = np.argsort(among)
    found = np.searchsorted(among, content_ids, sorter=order)
    return order[np.minimum(found, len(order) - 1)] if len(order) else found


def _global_vectors(snapshot: Snapshot, content_ids: ContentIds) -> Vector:
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
