"""Searches on every path, against scoring every photo, on two kinds of snapshot."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.scoring import score
from mkt_search.search.plan import DEFAULT, SearchPolicy
from mkt_search.search.search import Explanation, Found, patches_used, search
from mkt_search.store.interfaces import ContentIds, Snapshot, WeightedQuery
from mkt_search.store.recall_curve import RecallCurve, RecallPoint
from mkt_search.store.records import Batch
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import PhotoVectors, Vector
from tests import made
from tests.numpy_snapshot import NumpySnapshot

N = 300
SCAN = replace(DEFAULT, scan_build_as_searches=0, score_all_below_share=0.0, photos_per_block=70)
CURVE = RecallCurve(
    {kind: {10: (RecallPoint(40, 0.9),)} for kind in ("single", "multi", "negated")}
)


def whole_vectors(n: int) -> PhotoVectors:
    """Photos of whole numbers, coded and multiplied without rounding; many scores are equal."""
    rng = np.random.default_rng(0)
    made_ = made.vectors(n)
    vectors = rng.integers(-3, 4, (n, 1 + made.M, made.DIM)).astype(np.float32)
    vectors[:, :, 0] = 127  # the largest magnitude, so that the step of the code is 1
    vectors[n // 2 :] = vectors[: n - n // 2]  # equal photos
    return PhotoVectors(vectors[:, 0], vectors[:, 1:], made_.members)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSnapshot]:
    """Photos in two segments; the later half has lower content ids than its place says."""
    home: Path = tmp_path_factory.mktemp("search")
    store, vectors = Store.create(home / ".mkt"), whole_vectors(N)
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="made")
        for part in (slice(0, N // 3), slice(N // 3, N)):
            rows = range(*part.indices(N))
            photos = [made.photo(home, f"{i:03}.jpg", row=i - rows[0]) for i in rows]
            some = PhotoVectors(
                vectors.global_vectors[part], vectors.local_vectors[part], vectors.members[part]
            )
            store.add(made.location(store, home), stored, Batch(photos, (), some))
    yield LocalSnapshot.open(store, stored)
    store.close()


@pytest.fixture(scope="module")
def plain(local: LocalSnapshot) -> NumpySnapshot:
    """The same photos in numpy, in another order."""
    ids = local.content_ids()
    ids = ids[np.random.default_rng(1).permutation(len(ids))]
    return NumpySnapshot(
        local.facts.stored, ids, local.vectors(ids).vectors, local.member_patches(ids)
    )


def everyone(snapshot: Snapshot, query: WeightedQuery, allowed: ContentIds) -> dict[int, float]:
    """Return the score of every allowed photo."""
    vectors, counts = snapshot.vectors(allowed)
    scores = score(query.labels, vectors[:, 0], vectors[:, 1:], counts, k=made.TOP_K)
    fused = scores.global_scores @ query.weights + scores.local_scores @ query.weights
    return dict(zip(allowed.tolist(), fused.tolist(), strict=True))


def best_of(scores: dict[int, float], k: int) -> list[int]:
    return sorted(scores, key=lambda content_id: (-scores[content_id], content_id))[:k]


def path_of(
    snapshot: Snapshot, query: WeightedQuery, k: int, policy: SearchPolicy = DEFAULT
) -> tuple[str, Found]:
    explanation = Explanation()
    found = search(snapshot, query, k, policy=policy, explanation=explanation)
    assert explanation.plan is not None
    return explanation.plan.path, found


def one(label: Vector) -> WeightedQuery:
    return WeightedQuery(label[None], np.ones(1, np.float32))


@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 2, 5, 50, 299, 300, 1000]),
    terms=st.integers(1, 3),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    policy=st.sampled_from([DEFAULT, SCAN]),
)
@settings(max_examples=30, deadline=None)
def test_both_snapshots_find_what_scoring_everything_finds(
    local: LocalSnapshot,
    plain: NumpySnapshot,
    seed: int,
    k: int,
    terms: int,
    share: float,
    policy: SearchPolicy,
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-2, 3, (terms, made.DIM)).astype(np.float32)
    query = WeightedQuery(labels, rng.choice([-1.0, 0.5, 2.0], terms).astype(np.float32))
    allowed = None
    if share < 1:
        ids = local.content_ids()
        allowed = np.append(ids[rng.random(N) < share], [10**9])  # and one that is not stored
    found = search(local, query, k, allowed=allowed, policy=policy)
    same = search(plain, query, k, allowed=allowed, policy=policy)
    expected = best_of(everyone(local, query, local.content_ids(allowed)), k)
    assert found.content_ids.tolist() == same.content_ids.tolist() == expected
    np.testing.assert_array_equal(found.scores, same.scores)


def test_equal_photos_are_found_in_the_order_of_their_content_ids(local: LocalSnapshot) -> None:
    label = np.random.default_rng(0).integers(-2, 3, made.DIM).astype(np.float32)
    for policy in (DEFAULT, SCAN):
        scores = search(local, one(label), N, policy=policy)
        pairs = list(zip(scores.scores.tolist(), scores.content_ids.tolist(), strict=True))
        assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))
        assert len(set(scores.scores.tolist())) < N  # some are equal


def test_each_path_finds_the_same(local: LocalSnapshot) -> None:
    label = np.random.default_rng(3).integers(-2, 3, made.DIM).astype(np.float32)
    path, scanned = path_of(local, one(label), 7, SCAN)
    assert path == "exact scan"
    whole = replace(DEFAULT, score_all_below_share=1.0)
    path, every = path_of(local, one(label), 7, whole)
    assert path == "every photo"
    assert scanned.content_ids.tolist() == every.content_ids.tolist()


def test_a_small_answer_of_the_scan_is_asked_for_more_until_it_is_proven(
    local: LocalSnapshot,
) -> None:
    label = np.random.default_rng(4).integers(-2, 3, made.DIM).astype(np.float32)
    tiny = replace(SCAN, scan_vectors_per_k=1, scan_growth=2, first_scored_per_k=1)
    expected = best_of(everyone(local, one(label), local.content_ids()), 9)
    assert search(local, one(label), 9, policy=tiny).content_ids.tolist() == expected


@pytest.mark.parametrize("weights", [(1,), (1, 1), (1, -1), (20, 1), (1, 0.5, -0.5)])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_candidates_are_scored_exactly_and_newer_photos_with_them(
    plain: NumpySnapshot, weights: tuple[float, ...], share: float
) -> None:
    ids, newer = plain.content_ids(), 20
    vectors = plain.vectors(ids).vectors
    indexed = NumpySnapshot(
        plain.facts.stored, ids, vectors, plain.member_patches(ids), newer=newer, curve=CURVE
    )
    policy = replace(DEFAULT, score_all_up_to_photos=10, probes_per_photo=1_000)
    rng = np.random.default_rng(5)
    allowed = None if share == 1 else ids[rng.random(N) < share]
    recalls = []
    for labels in rng.integers(-2, 3, (20, len(weights), made.DIM)).astype(np.float32):
        query = WeightedQuery(labels, np.array(weights, np.float32))
        explanation = Explanation()
        found = search(
            indexed, query, 10, allowed=allowed, recall=0.9, policy=policy, explanation=explanation
        )
        assert explanation.plan is not None and explanation.plan.path == "candidates"
        some = indexed.content_ids(allowed)
        assert explanation.newer == np.isin(some, ids[N - newer :]).sum()
        scores = everyone(plain, query, some)
        best = best_of(scores, 10)
        recalls.append(np.isin(best, found.content_ids).mean())
        assert found.scores.tolist() == [scores[i] for i in found.content_ids.tolist()]
        assert (np.diff(found.scores) <= 0).all()
        assert set(best) & set(ids[N - newer :].tolist()) <= set(found.content_ids.tolist())
    assert np.mean(recalls) >= 0.9


def test_steps_are_timed(local: LocalSnapshot) -> None:
    explanation = Explanation()
    label = np.ones(made.DIM, np.float32)
    search(local, one(label), 3, policy=SCAN, explanation=explanation)
    assert set(explanation.milliseconds) == {"plan", "scan and score"}
    assert all(took >= 0 for took in explanation.milliseconds.values())


def test_patch_weights_are_a_mean_over_the_best_patches(local: LocalSnapshot) -> None:
    label = np.ones(made.DIM, np.float32)
    weights = patches_used(local, label, local.content_ids()[[0, 5]])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert ((weights > 0).sum(axis=1) >= made.TOP_K).all()
