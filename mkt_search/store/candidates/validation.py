"""Measure a sketch before it is switched to: what it finds of the exact best, for how many vectors.

Every photo is scored once for all queries; then each query is asked of the sketch for many vectors
at once, whose ranks say what fewer would have given.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from mkt_search.progress import Progress, ProgressCallback
from mkt_search.scoring import score_similarities
from mkt_search.store.ann.pq_index import Ids, PQIndex, Ranked
from mkt_search.store.candidates.calibration_queries import share_found
from mkt_search.store.candidates.shortlist import WeightedSum, chosen, products_of
from mkt_search.store.recall_curve import Points, QueryKind, RecallCurve
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector

PAIRS = 64  # of labels: for several terms, and again for terms of which one is unwanted
DEPTHS = (10, 100)
VECTORS = (  # one row is asked at once
    (100, 200, 400, 800, 1_600),
    (2_400, 3_200, 4_800, 6_400, 8_000),
    (9_600, 12_800, 25_600),
    (51_200,),
)
ENOUGH = 0.999  # a recall above which more vectors are not tried


def measured(
    index: LocalSnapshot, sketch: PQIndex, slots: Ids, labels: Vector, progress: ProgressCallback
) -> RecallCurve:
    """Return what share of the exact best photos is on the shortlist of how many vectors.

    Kept is the mean over the queries less one standard error: other labels will be asked.

    Args:
        index: the vectors.
        sketch: of the photos at these slots.
        slots: all that can be found.
        labels: (L, D), which are asked each by itself, and in pairs.
        progress: called as work advances.
    """
    queries, weights = _queries(labels)
    best = index.contents[_best(index, slots, labels, weights, progress)]
    forms = np.array([query.form for query in queries])
    recall: dict[QueryKind, dict[int, Points]] = {}
    with _workers() as workers:
        for form in get_args(QueryKind):
            mine = np.flatnonzero(forms == form)
            recall[form] = {depth: () for depth in DEPTHS}
            for row in VECTORS:
                left = [depth for depth, points in recall[form].items() if not _is_enough(points)]
                counts = [vectors for vectors in row if vectors < sketch.index.ntotal]
                if not left or not counts or not len(mine):
                    break
                ask = partial(_shares, index, sketch, depths=left, counts=counts)
                shares = np.empty((len(mine), len(left), len(counts)), np.float32)
                answers = workers.map(ask, (queries[n] for n in mine), best.T[mine])
                for n, answer in enumerate(answers):
                    shares[n] = answer
                    progress(Progress("asking for candidates", n + 1, len(mine)))
                for at, depth in enumerate(left):
                    recall[form][depth] += tuple(_points(depth, counts, shares[:, at]))
    return RecallCurve(recall)


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Give a thread for every core; an error is not kept waiting by what has not begun yet."""
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        try:
            yield workers
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise


def _best(
    index: LocalSnapshot, slots: Ids, labels: Vector, weights: Vector, progress: ProgressCallback
) -> Ids:
    """Return the slots of the best photos for every query (depth, q), by the exact score.

    `weights` (L, q) are those of the labels (L, D) in each query.
    """
    most, done = min(DEPTHS[-1], len(slots)), 0
    best = np.empty((0, weights.shape[1]), np.int64)
    scores = np.empty((0, weights.shape[1]), np.float32)
    for part in index.blocks(slots):
        similarities = index.similarities(part, labels)
        fused = score_similarities(similarities, index.counts(part), k=index.encoding.top_k).fused
        found = fused @ weights  # (n, q): the score of several terms is a sum over them
        best = np.concatenate([best, np.broadcast_to(part[:, None], found.shape)])
        scores = np.concatenate([scores, found])
        order = np.argsort(-scores, axis=0, kind="stable")[:most]
        best = np.take_along_axis(best, order, axis=0)
        scores = np.take_along_axis(scores, order, axis=0)
        done += len(part)
        progress(Progress("measuring recall", done, len(slots)))
    return best


def _queries(labels: Vector) -> tuple[list[WeightedSum], Vector]:
    """Return what recall is measured on, and the weights (L, q) of the labels (L, D) in each.

    Each label by itself, and pairs of labels: both wanted, and the second unwanted.
    """
    pairs = np.arange(min(PAIRS, len(labels) // 2))
    both = np.zeros((len(labels), len(pairs)), np.float32)
    both[2 * pairs, pairs] = both[2 * pairs + 1, pairs] = 1
    without = both.copy()
    without[2 * pairs + 1, pairs] = -1
    weights = np.concatenate([np.eye(len(labels), dtype=np.float32), both, without], axis=1)
    return [WeightedSum(labels[column != 0], column[column != 0]) for column in weights.T], weights


def _is_enough(points: Points) -> bool:
    return bool(points) and points[-1][1] >= ENOUGH


def _points(depth: int, counts: Sequence[int], shares: Vector) -> Iterator[tuple[int, float]]:
    """Yield numbers of vectors and the recall of each, from the shares (q, counts) found."""
    for vectors, each in zip(counts, shares.T, strict=True):
        if vectors >= depth:
            recall = float(np.mean(each) - np.std(each) / len(each) ** 0.5)
            yield vectors, recall
            if recall >= ENOUGH:
                return


def _shares(
    index: LocalSnapshot,
    sketch: PQIndex,
    query: WeightedSum,
    best: Ids,
    *,
    depths: Sequence[int],
    counts: Sequence[int],
) -> Vector:
    """Return (depths, counts): what share of the best the shortlist of so many vectors has.

    `best` (d,) are the contents that score best, best first.
    """
    found = sketch.ranked(query.directions, counts[-1], owners=max(depths))

    @cache
    def products() -> Vector:
        return products_of(index, found[0].contents, found[0].which, query.labels[0])

    shares = np.empty((len(depths), len(counts)), np.float32)
    for i, depth in enumerate(depths):
        needed = max(_needed(of, owners=depth) for of in found)
        for j, vectors in enumerate(counts):
            asked = _asked(vectors, needed)
            taken = [of.ranks < asked for of in found]
            owners = [of.contents[mask] for of, mask in zip(found, taken, strict=True)]
            on_it = chosen(query, owners, partial(_some, products, taken[0]), k=depth)
            shares[i, j] = share_found(best[:depth], on_it)
    return shares


def _some(products: Callable[[], Vector], taken: NDArray[np.bool_]) -> Vector:
    return products()[taken]


def _needed(found: Ranked, *, owners: int) -> int:
    """Return how many of the best vectors have so many owners; all, where they have fewer."""
    first = np.flatnonzero(np.diff(found.contents, prepend=-1))
    if len(first) < owners:
        return len(found.ranks)
    return int(np.sort(np.minimum.reduceat(found.ranks, first))[owners - 1]) + 1


def _asked(vectors: int, needed: int) -> int:
    """Return how many vectors a search asks for in the end that begins with `vectors`."""
    while vectors < needed:
        vectors *= 2
    return vectors
