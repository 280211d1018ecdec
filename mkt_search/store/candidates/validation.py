"""Measure the recall of a candidate index before it is used.

Every photo is scored exactly once for all queries. Then each query is probed for many vectors at
once; their ranks say what fewer probes would have found, and `shortlist` chooses from these exactly
as in a search.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import get_args

import numpy as np

from mkt_search.progress import Progress, ProgressCallback
from mkt_search.scoring import score_similarities
from mkt_search.store.ann.pq_index import OwnedVectors, PQIndex
from mkt_search.store.candidates.calibration_queries import share_found
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.candidates.shortlist import oversample, shortlist
from mkt_search.store.interfaces import ContentIds, Snapshot, WeightedQuery
from mkt_search.store.recall_curve import Points, QueryKind, RecallCurve, RecallPoint
from mkt_search.types import Vector

PHOTOS_PER_SCORING = 256

FusedProducts = Callable[[OwnedVectors, Vector], Vector]
"""Returns (v,): the exact inner products of single vectors g + l with a label (D,)."""


def measure_recall(
    snapshot: Snapshot,
    index: PQIndex,
    fused_products: FusedProducts,
    labels: Vector,
    policy: BuildPolicy,
    progress: ProgressCallback,
) -> RecallCurve:
    """Return the share of the exact best photos on the shortlist, by number of probes.

    A point is the mean over the queries less one standard error, since other labels will be
    searched for.

    Args:
        snapshot: the stored vectors.
        index: holds every live photo of the snapshot.
        fused_products: computes exact products for the shortlist.
        labels: (L, D), measured one by one and in pairs.
        policy: depths, numbers of probes and pairs.
        progress: called as work advances.
    """
    queries, weights = _queries(labels, policy.calibration_pairs)
    best = _exact_best(snapshot, labels, weights, max(policy.depths), progress)  # (depth, q)
    cases = [_Case(index, query, fused_products, best[:, i]) for i, query in enumerate(queries)]
    points = {}
    with _workers() as workers:
        for kind in get_args(QueryKind):
            own = [case for case in cases if case.query.kind == kind]
            points[kind] = _curve_of(own, policy, workers, progress)
    return RecallCurve(points)


def _queries(labels: Vector, pairs: int) -> tuple[list[WeightedQuery], Vector]:
    """Return the queries, and the weights (L, q) of the labels (L, D) in each.

    They are each label by itself, then pairs of labels: both wanted, and the second unwanted.
    """
    pair = np.arange(min(pairs, len(labels) // 2))
    both = np.zeros((len(labels), len(pair)), np.float32)  # (L, pairs)
    both[2 * pair, pair] = both[2 * pair + 1, pair] = 1
    without = both.copy()
    without[2 * pair + 1, pair] = -1
    weights = np.concatenate([np.eye(len(labels), dtype=np.float32), both, without], axis=1)
    queries = [WeightedQuery(labels[column != 0], column[column != 0]) for column in weights.T]
    return queries, weights


def _exact_best(
    snapshot: Snapshot, labels: Vector, weights: Vector, depth: int, progress: ProgressCallback
) -> ContentIds:
    """Return the content ids of the best photos for every query, best first: (depth, q).

    `weights` (L, q) are those of the labels (L, D) in each query.
    """
    content_ids, k = snapshot.content_ids(), snapshot.facts.encoding.top_k
    best = np.empty((0, weights.shape[1]), np.int64)  # (up to depth, q)
    scores = np.empty((0, weights.shape[1]), np.float32)
    for first in range(0, len(content_ids), PHOTOS_PER_SCORING):
        part = content_ids[first : first + PHOTOS_PER_SCORING]
        products, counts = snapshot.similarities(part, labels)  # (n, 1 + m, L), (n, m)
        found = score_similarities(products, counts, k=k).fused @ weights  # (n, q)
        best = np.concatenate([best, np.broadcast_to(part[:, None], found.shape)])
        scores = np.concatenate([scores, found])
        order = np.argsort(-scores, axis=0, kind="stable")[:depth]
        best = np.take_along_axis(best, order, axis=0)
        scores = np.take_along_axis(scores, order, axis=0)
        progress(Progress("measuring recall", first + len(part), len(content_ids)))
    return best


class _Case:
    """A query with its exact best photos (depth,): finds what share of them a shortlist holds."""

    def __init__(
        self, index: PQIndex, query: WeightedQuery, products: FusedProducts, best: ContentIds
    ) -> None:
        self.query = query
        self._index, self._products, self._best = index, products, best

    @property
    def vectors(self) -> int:
        """The number of vectors in the index."""
        return len(self._index)

    def shares(self, depths: Sequence[int], probe_counts: Sequence[int]) -> Vector:
        """Return (depths, counts): the share of the best on the shortlist of so many probes."""
        replay = self._recorded(probe_counts[-1], owners=max(depths))
        return np.array(
            [[self._share(replay, depth, probes) for probes in probe_counts] for depth in depths],
            np.float32,
        )

    def _share(self, replay: "_Replay", depth: int, probes: int) -> float:
        found = shortlist(
            self.query, replay.probe, replay.products, k=depth, probes=probes, total=replay.total
        )
        return share_found(self._best[:depth], found)

    def _recorded(self, probes: int, owners: int) -> "_Replay":
        """Probe the index for as many vectors as any of the shortlists will ask for."""
        probe = self._index.probe_for(self.query.directions)
        found = oversample(probe, probes, owners=owners, total=len(self._index))
        return _Replay(found, partial(self._products, found[0], self.query.labels[0]))


class _Replay:
    """Answers probes from vectors that were found before, (v,) for each direction."""

    def __init__(self, found: list[OwnedVectors], products: Callable[[], Vector]) -> None:
        self._found = found
        self._products_by_rank = cache(lambda: products()[np.argsort(found[0].ranks)])
        self.total = len(found[0].ranks)

    def probe(self, count: int) -> list[OwnedVectors]:
        """Return the best `count` vectors for each direction."""
        return [vectors.best(count) for vectors in self._found]

    def products(self, vectors: OwnedVectors) -> Vector:
        """Return (v,): the exact products of vectors that were found for the first direction."""
        by_rank: Vector = self._products_by_rank()[vectors.ranks]
        return by_rank


def _curve_of(
    cases: Sequence[_Case],
    policy: BuildPolicy,
    workers: ThreadPoolExecutor,
    progress: ProgressCallback,
) -> dict[int, Points]:
    """Return the points of one kind of query by depth, each curve up to enough recall."""
    curves: dict[int, Points] = {depth: () for depth in policy.depths}
    for group in policy.probe_counts:
        counts = [probes for probes in group if cases and probes < cases[0].vectors]
        depths = [d for d, points in curves.items() if not _is_enough(points, policy)]
        if not counts or not depths:
            break
        shares = []  # of every query: (depths, counts)
        for answer in workers.map(partial(_Case.shares, depths=depths, probe_counts=counts), cases):
            shares.append(answer)
            progress(Progress("probing for candidates", len(shares), len(cases)))
        for i, depth in enumerate(depths):
            of_depth = np.array(shares)[:, i]  # (q, counts)
            curves[depth] += tuple(_points(depth, counts, of_depth, policy))
    return curves


def _points(
    depth: int, counts: Sequence[int], shares: Vector, policy: BuildPolicy
) -> Iterator[RecallPoint]:
    """Yield a point for every count of at least `depth` probes, from the shares (q, counts)."""
    for probes, each in zip(counts, shares.T, strict=True):
        if probes >= depth:
            point = RecallPoint(probes, float(np.mean(each) - np.std(each) / len(each) ** 0.5))
            yield point
            if point.recall >= policy.enough_recall:
                return


def _is_enough(points: Points, policy: BuildPolicy) -> bool:
    return bool(points) and points[-1].recall >= policy.enough_recall


@contextmanager
def _workers() -> Iterator[ThreadPoolExecutor]:
    """Give a thread for every core; an error cancels what has not begun."""
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        try:
            yield workers
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
