"""The measured recall is the recall of searches with so many probes."""

from dataclasses import replace

import numpy as np
import pytest

from mkt_search.progress import no_progress
from mkt_search.scoring import score
from mkt_search.store.candidates.calibration_queries import share_found
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.candidates.validation import measure_recall
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.store.recall_curve import QueryKind, RecallCurve
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector
from tests import made

PHOTOS, LABELS = 500, 12
SMALL = BuildPolicy(
    depths=(3, 20), probe_counts=((5, 20, 50), (80, 200), (10_000,)), enough_recall=1.0
)
QUERIES: dict[QueryKind, list[float]] = {"single": [1], "multi": [1, 1], "negated": [1, -1]}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> LocalSnapshot:
    """A library of 500 photos with a candidate index."""
    store = made.optimized(tmp_path_factory.mktemp("library"), PHOTOS)
    assert store.active is not None
    return LocalSnapshot.open(store, store.active)


def labels(n: int, seed: int = 0) -> Vector:
    return np.random.default_rng(seed).standard_normal((n, made.DIM)).astype(np.float32)


def measured(snapshot: LocalSnapshot, labels: Vector, policy: BuildPolicy) -> RecallCurve:
    index = snapshot.pq_index
    assert index is not None
    return measure_recall(snapshot, index, snapshot.fused_products, labels, policy, no_progress)


def exact_best(snapshot: LocalSnapshot, query: WeightedQuery, depth: int) -> ContentIds:
    ids = snapshot.content_ids()
    vectors, counts = snapshot.vectors(ids)
    scores = score(query.labels, vectors[:, 0], vectors[:, 1:], counts, k=made.TOP_K)
    return ids[np.argsort(-(scores.fused @ query.weights), kind="stable")[:depth]]


@pytest.fixture(scope="module")
def curve(snapshot: LocalSnapshot) -> RecallCurve:
    return measured(snapshot, labels(LABELS), SMALL)


@pytest.mark.parametrize("kind", QUERIES)
@pytest.mark.parametrize("depth", SMALL.depths)
def test_the_curve_is_that_of_a_search_for_every_number_of_probes(
    snapshot: LocalSnapshot, curve: RecallCurve, kind: QueryKind, depth: int
) -> None:
    """The plain way: a search of its own for every query and number."""
    weights = np.array(QUERIES[kind], np.float32)
    queries = [
        WeightedQuery(some, weights)
        for some in labels(LABELS).reshape(
            -1, *((1, made.DIM) if kind == "single" else (2, made.DIM))
        )
    ]
    plain = []
    for probes in (p for p in (5, 20, 50, 80, 200) if p >= depth):
        shares = [
            share_found(
                exact_best(snapshot, query, depth),
                snapshot.candidates(query, k=depth, probes=probes).candidates,
            )
            for query in queries
        ]
        plain.append((probes, np.mean(shares) - np.std(shares) / len(shares) ** 0.5))
    points = curve.points[kind][depth]
    assert [probes for probes, _ in points] == [p for p, _ in plain][: len(points)]
    for (_, recall), (_, expected) in zip(points, plain, strict=False):
        assert recall == pytest.approx(expected, abs=0.03)  # of equal codes another may be found
    assert len(points) == len(plain) or points[-1].recall >= 1.0
    assert 0 < points[0].recall < points[-1].recall


def test_one_label_makes_no_pairs(snapshot: LocalSnapshot) -> None:
    curve = measured(snapshot, labels(1), BuildPolicy())
    assert curve.points["single"][10] and not curve.points["multi"][10]


def test_points_end_where_the_recall_is_enough(snapshot: LocalSnapshot) -> None:
    policy = replace(BuildPolicy(), enough_recall=0.9)
    curve = measured(snapshot, labels(4, seed=1), policy)
    for depths in curve.points.values():
        for depth, points in depths.items():
            assert [p for p, _ in points] == sorted(p for p, _ in points if p >= depth)
            assert all(recall < 0.9 for _, recall in points[:-1])
