"""Search: label -> vector -> candidates -> exact score -> hits.

One wanted label goes through the scan, which reads everything but scores exactly only what can be
among the k best; several terms, or a filter that leaves few photos, are scored exactly one and all.
Both give the same answer: the k best by `scoring`, of equal ones those whose bytes came first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import StreamScores, patch_weights, score_similarities
from mkt_search.store.vectors import VectorIndex
from mkt_search.types import Vector

PER_PHOTO = 100  # vectors asked of the scan for one photo wanted: a photo owns up to m of the best
FIRST = 4  # photos scored exactly, for one wanted, before those that a bound still leaves possible
GROWTH = 4  # and how many times more when the answer is not proven yet
AT_ONCE = 1 << 22  # similarities of local vectors computed together: 16 MB, a few times over
FEW = 0.05  # share of the library below which reading just these photos is less than a scan


@dataclass(frozen=True)
class Found:
    """The k best slots, best first, with the two parts of their scores: (k,) each."""

    slots: NDArray[np.int64]
    global_: Vector
    local: Vector

    @property
    def scores(self) -> Vector:
        """(k,): the fused scores."""
        return self.global_ + self.local


def best(
    index: VectorIndex, labels: Vector, weights: Vector, k: int, allowed: NDArray[np.bool_]
) -> Found:
    """Return the k best allowed photos for a weighted sum of labels.

    Args:
        index: the library's vectors.
        labels: (T, D), one row a term.
        weights: (T,), negative for unwanted terms.
        k: photos wanted.
        allowed: (n,) which slots may be found.
    """
    few = np.count_nonzero(allowed) <= FEW * len(allowed)
    if len(labels) > 1 or few or weights[0] <= 0:
        return _of_all(index, labels, weights, k, allowed)
    return _proven(index, labels[0], float(weights[0]), k, allowed)


def _proven(
    index: VectorIndex, label: Vector, weight: float, k: int, allowed: NDArray[np.bool_]
) -> Found:
    """Ask the scan for vectors, once more for more, until the k-th score reaches its bound.

    With k-set means a photo's bound is its score but for the coding, so the first answer proves
    itself; with centroids and single patches it is looser, and large libraries are scored whole.
    """
    labels, weights = label[None], np.full(1, weight, np.float32)
    for vectors in (PER_PHOTO * k, GROWTH * PER_PHOTO * k):
        found = index.scan.candidates(label, vectors=vectors, live=allowed)
        first = _exact(index, labels, weights, k, found.slots[: FIRST * k])
        worst = float(first.scores[-1]) / weight if len(first.slots) == k else -np.inf
        rest = found.slots[FIRST * k :][found.upper[FIRST * k :] >= worst]
        best_ = _merged(index, first, _exact(index, labels, weights, k, rest), k)
        full = len(best_.slots) == k
        if found.bound == -np.inf or (full and float(best_.scores[-1]) / weight >= found.bound):
            return best_
    return _of_all(index, labels, weights, k, allowed)


def _of_all(
    index: VectorIndex, labels: Vector, weights: Vector, k: int, allowed: NDArray[np.bool_]
) -> Found:
    """Score every allowed photo in blocks, keeping the best."""
    kept = _exact(index, labels, weights, k, np.empty(0, np.int64))
    for block in index.blocks(np.flatnonzero(allowed)):
        part = _exact(index, labels, weights, k, block)
        kept = _merged(index, kept, part, k)
    return kept


def _merged(index: VectorIndex, a: Found, b: Found, k: int) -> Found:
    return _best_of(
        index,
        np.concatenate([a.slots, b.slots]),
        np.concatenate([a.global_, b.global_]),
        np.concatenate([a.local, b.local]),
        k,
    )


def _exact(
    index: VectorIndex, labels: Vector, weights: Vector, k: int, slots: NDArray[np.int64]
) -> Found:
    if not len(slots):
        nothing = np.empty(0, np.float32)
        return Found(slots, nothing, nothing)
    scores = _score(index, labels, slots)
    return _best_of(index, slots, scores.global_ @ weights, scores.local @ weights, k)


def _best_of(
    index: VectorIndex, slots: NDArray[np.int64], global_: Vector, local: Vector, k: int
) -> Found:
    contents = index.contents[slots]  # slots are no order to keep: a merge of segments changes them
    order = np.lexsort((contents, -(global_ + local)))[:k]
    return Found(slots[order], global_[order], local[order])


def score_blocks(
    index: VectorIndex, labels: Vector, slots: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Vector]]:
    """Yield (slots, (n, L) fused scores) in blocks: every photo against every label."""
    photos = max(1, AT_ONCE // (index.encoding.m * max(1, len(labels))))
    for block in index.blocks(slots, most=photos):
        yield block, _score(index, labels, block).fused


def _score(index: VectorIndex, labels: Vector, slots: NDArray[np.int64]) -> StreamScores:
    similarities = index.similarities(slots, labels)
    return score_similarities(similarities, index.counts(slots), k=index.encoding.top_k)


def patches_used(
    index: VectorIndex, label: Vector, slots: Sequence[int] | NDArray[np.int64]
) -> Vector:
    """Return (n, P): how much each patch weighs in the local part of each slot; rows sum to 1."""
    slots = np.asarray(slots, np.int64)
    counts, members = index.counts(slots), index.member_patches(slots)
    similarities = index.similarities(slots, label[None])[:, 1:, 0]
    weights = patch_weights(similarities, counts, index.encoding.top_k)
    shares = weights / np.maximum(counts, 1).astype(np.float32)
    by_patch: Vector = np.einsum("nm,nmp->np", shares, members.astype(np.float32))
    return by_patch
