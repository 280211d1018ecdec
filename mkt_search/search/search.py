"""Search: label -> vector -> candidates -> exact score -> hits.

A query goes through the candidate index of the library where there is one whose recall is known to
be enough: it is asked for as many vectors as that takes, the shortlist of their photos is scored
exactly, and with it every photo newer than the index. Else one wanted label goes through the scan,
which reads everything but scores exactly only what can be among the k best; for several terms every
photo is scored. So are the photos that a filter leaves where they are few, and all for a query of
which most is unwanted. Every way scores by `scoring`; of equal photos, those whose bytes came first
go first.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import StreamScores, patch_weights, score_similarities
from mkt_search.store.candidates.shortlist import SCORED, WeightedSum, shortlist
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector

PER_PHOTO = 100  # vectors asked of the scan for one photo wanted: a photo owns up to m of the best
FIRST = 4  # photos scored exactly, for one wanted, before those that a bound still leaves possible
GROWTH = 4  # and how many times more when the answer is not proven yet
FEW_PHOTOS = 100  # or what is less work than the sketch: up to so many are scored one and all
FEW_OF_INDEX = 0.01  # of the photos of the sketch, whose scan takes as long as scoring these
OF_ONE = 2  # vectors of a photo among those that the sketch gives, about
FEW = 0.05  # share of the library below which reading just these photos is less than a scan


@dataclass
class Explanation:
    """Which way a search went: `path`, photos that were looked at, milliseconds of each step.

    `vectors` were asked of the candidate index, for several terms in each of its directions;
    `candidates` are the photos scored for them, beside the `newer` ones. `recall` is the share of
    the exact best photos that validation promises, of labels and pairs of labels like those it was
    measured on; 1 for an exact way.
    """

    path: str = ""
    searched: int = 0
    vectors: int = 0
    candidates: int = 0
    newer: int = 0
    recall: float = 1.0
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time a block takes to a step."""
        start = time.perf_counter()
        yield
        took = (time.perf_counter() - start) * 1e3
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + took


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
    index: LocalSnapshot,
    labels: Vector,
    weights: Vector,
    k: int,
    allowed: NDArray[np.bool_],
    *,
    recall: float = 1.0,
    explanation: Explanation | None = None,
) -> Found:
    """Return the k best allowed photos for a weighted sum of labels.

    Args:
        index: the library's vectors.
        labels: (T, D), one row a term.
        weights: (T,), negative for unwanted terms.
        k: photos wanted.
        allowed: (n,) which slots may be found.
        recall: the share of the k best that must be found on average; 1 is all of them, always.
        explanation: is told which way was taken.
    """
    told = explanation if explanation is not None else Explanation()
    told.searched = int(np.count_nonzero(allowed))
    query = WeightedSum(labels, weights)
    vectors = _vectors_for(index, query, k, recall)
    if vectors is not None and told.searched > _few(index, query, k, vectors):
        told.recall, told.vectors = recall, vectors
        return _approximate(index, query, k=k, allowed=allowed, told=told)
    is_single = query.terms == 1 and query.has_shortlist
    if vectors is not None or not is_single or told.searched <= FEW * len(allowed):
        told.path = "every photo"
        with told.step("score"):
            return _of_all(index, labels, weights, k, allowed)
    told.path = "exact scan"
    with told.step("scan and score"):
        return _proven(index, labels[0], float(weights[0]), k, allowed)


def _few(index: LocalSnapshot, query: WeightedSum, k: int, vectors: int) -> int:
    """Return up to how many photos are scored one and all where there is a sketch."""
    assert index.generation is not None
    directions = len(query.directions)
    scans = int(FEW_OF_INDEX * index.generation.photos) * directions
    if query.terms == 1:
        return max(FEW_PHOTOS, SCORED * _depth(index, k) + scans)
    return max(FEW_PHOTOS, vectors * directions // OF_ONE + scans)


def _depth(index: LocalSnapshot, k: int) -> int:
    return index.generation.curve.depth_of(k) if index.generation is not None else k


def _vectors_for(index: LocalSnapshot, query: WeightedSum, k: int, recall: float) -> int | None:
    """Return how many vectors of the sketch reach a recall; None when it cannot be promised."""
    if recall >= 1 or not query.has_shortlist or index.generation is None or index.sketch is None:
        return None
    return index.generation.curve.vectors_for(query.form, k, recall)


def _approximate(
    index: LocalSnapshot,
    query: WeightedSum,
    *,
    k: int,
    allowed: NDArray[np.bool_],
    told: Explanation,
) -> Found:
    """Score the shortlist exactly, and with it every photo the sketch has not."""
    assert index.sketch is not None and index.generation is not None
    told.path = "candidates"
    with told.step("candidates"):
        known = allowed & index.covered
        is_all = np.count_nonzero(known) == index.generation.photos
        contents = None if is_all else index.contents[known]
        slots = shortlist(
            index,
            index.sketch,
            query,
            k=_depth(index, k),
            vectors=told.vectors,
            allowed=contents,
        )
    newer = np.flatnonzero(allowed & ~index.covered)
    told.candidates, told.newer = len(slots), len(newer)
    with told.step("score"):
        return _in_blocks(index, *query, k, np.concatenate([slots, newer]))


def _proven(
    index: LocalSnapshot, label: Vector, weight: float, k: int, allowed: NDArray[np.bool_]
) -> Found:
    """Ask the scan for vectors, once more for more, until the k-th score reaches its bound.

    With `cover` a photo's bound is its score but for the coding, so the first answer proves itself;
    with single patches it is looser, and large libraries are scored whole.
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
    index: LocalSnapshot, labels: Vector, weights: Vector, k: int, allowed: NDArray[np.bool_]
) -> Found:
    """Score every allowed photo, keeping the best."""
    return _in_blocks(index, labels, weights, k, np.flatnonzero(allowed))


def _in_blocks(
    index: LocalSnapshot, labels: Vector, weights: Vector, k: int, slots: NDArray[np.int64]
) -> Found:
    """Score slots in blocks, in the order they lie on disk, keeping the best."""
    kept = _exact(index, labels, weights, k, np.empty(0, np.int64))
    for block in index.blocks(np.sort(slots)):
        part = _exact(index, labels, weights, k, block)
        kept = _merged(index, kept, part, k)
    return kept


def _merged(index: LocalSnapshot, a: Found, b: Found, k: int) -> Found:
    return _best_of(
        index,
        np.concatenate([a.slots, b.slots]),
        np.concatenate([a.global_, b.global_]),
        np.concatenate([a.local, b.local]),
        k,
    )


def _exact(
    index: LocalSnapshot, labels: Vector, weights: Vector, k: int, slots: NDArray[np.int64]
) -> Found:
    if not len(slots):
        nothing = np.empty(0, np.float32)
        return Found(slots, nothing, nothing)
    scores = _score(index, labels, slots)
    return _best_of(index, slots, scores.global_ @ weights, scores.local @ weights, k)


def _best_of(
    index: LocalSnapshot, slots: NDArray[np.int64], global_: Vector, local: Vector, k: int
) -> Found:
    contents = index.contents[slots]  # slots are no order to keep: a merge of segments changes them
    order = np.lexsort((contents, -(global_ + local)))[:k]
    return Found(slots[order], global_[order], local[order])


def _score(index: LocalSnapshot, labels: Vector, slots: NDArray[np.int64]) -> StreamScores:
    similarities = index.similarities(slots, labels)
    return score_similarities(similarities, index.counts(slots), k=index.encoding.top_k)


def patches_used(
    index: LocalSnapshot, label: Vector, slots: Sequence[int] | NDArray[np.int64]
) -> Vector:
    """Return (n, P): how much each patch weighs in the local part of each slot; rows sum to 1."""
    slots = np.asarray(slots, np.int64)
    counts, members = index.counts(slots), index.member_patches(slots)
    similarities = index.similarities(slots, label[None])[:, 1:, 0]
    weights = patch_weights(similarities, counts, index.encoding.top_k)
    shares = weights / np.maximum(counts, 1).astype(np.float32)
    by_patch: Vector = np.einsum("nm,nmp->np", shares, members.astype(np.float32))
    return by_patch
