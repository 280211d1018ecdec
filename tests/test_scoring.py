"""The score against a version written slowly and obviously."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.scoring import (
    StreamScores,
    fuse_over_labels,
    mean_of_views,
    of_best_view,
    patch_weights,
    scale,
    score,
    stream_weights,
    top_k_mean,
    unit,
    weigh,
    without_padding,
)
from mkt_search.types import Encoded
from tests import made


def slow_local(label, local_vectors, counts, k: int) -> float:
    """Write each local vector out once for every patch it stands for; average the best k."""
    patches = [
        float(v @ label) for v, n in zip(local_vectors, counts, strict=True) for _ in range(n)
    ]
    best = sorted(patches, reverse=True)[:k]
    return sum(best) / len(best) if best else 0.0


@given(seed=st.integers(0, 10_000), k=st.integers(1, 15), is_pooled=st.booleans())
@settings(max_examples=80, deadline=None)
def test_the_score_equals_the_slow_one(seed: int, k: int, is_pooled: bool) -> None:
    k = min(k, 12) if is_pooled else k  # of 12 patches
    vectors = made.vectors(4, seed, each=k if is_pooled else 1)
    labels = np.random.default_rng(seed).standard_normal((3, made.DIM)).astype(np.float32)
    found = score(labels, vectors.global_vectors, vectors.local_vectors, vectors.counts, k=k)
    for n in range(4):
        for i, label in enumerate(labels):
            local = slow_local(label, vectors.local_vectors[n], vectors.counts[n], k)
            np.testing.assert_allclose(found.local_scores[n, i], local, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(
                found.fused[n, i], vectors.global_vectors[n] @ label + local, rtol=1e-4, atol=1e-4
            )


@given(seed=st.integers(0, 10_000), k=st.integers(1, 15), is_pooled=st.booleans())
@settings(max_examples=50, deadline=None)
def test_patch_weights_make_the_mean_of_the_best(seed: int, k: int, is_pooled: bool) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.integers(-3, 4, (5, 6)).astype(np.float32)  # ties
    counts = np.where(rng.random((5, 6)) < 0.3, 0, k if is_pooled else 1)
    weights = patch_weights(similarities, counts, k)
    assert (weights >= 0).all()
    assert (weights[counts == 0] == 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), (counts > 0).any(axis=1), atol=1e-6)
    assert ((weights > 0).sum(axis=1) <= (1 if is_pooled else k)).all()
    mean = top_k_mean(similarities, counts, k)
    np.testing.assert_allclose((weights * similarities).sum(axis=1), mean, atol=1e-6)


def test_one_vector_per_patch_is_the_papers_top_k_mean() -> None:
    similarities = np.array([0.1, 0.9, 0.5, -1.0], np.float32)
    assert top_k_mean(similarities, np.ones(4, np.int64), 2) == np.float32(0.7)
    assert top_k_mean(similarities, np.array([1, 0, 1, 1]), 2) == np.float32(0.3)


def test_k_set_means_score_as_their_best() -> None:
    similarities = np.array([0.1, 0.9, 0.5], np.float32)
    assert top_k_mean(similarities, np.full(3, 8), 8) == np.float32(0.9)
    assert top_k_mean(similarities, np.array([8, 0, 8]), 8) == np.float32(0.5)


def test_a_photo_without_local_vectors_scores_by_its_global_one() -> None:
    found = score(
        np.ones((1, 2), np.float32),
        np.array([[1, 2]], np.float32),
        np.zeros((1, 0, 2), np.float32),
        np.zeros((1, 0), np.int64),
        k=3,
    )
    assert found.fused.tolist() == [[3.0]]


def test_cosine_makes_the_score_the_mean_of_two_cosines() -> None:
    encoded = Encoded(np.array([[3, 4]], np.float32), np.array([[[0, 2], [5, 0]]], np.float32))
    scaled = scale(encoded)
    label = np.array([[0, 1]], np.float32)
    found = score(label, scaled.global_vectors, scaled.patches, np.ones((1, 2), np.int64), k=1)
    np.testing.assert_allclose(found.global_scores, [[0.8 / 2]])
    np.testing.assert_allclose(found.local_scores, [[1 / 2]])


def test_fusion_over_labels_is_the_papers() -> None:
    rng = np.random.default_rng(0)
    labels = unit(rng.standard_normal((6, 5)).astype(np.float32))
    encoded = Encoded(
        rng.standard_normal((3, 5)).astype(np.float32),
        rng.standard_normal((3, 7, 5)).astype(np.float32),
    )
    ones = np.ones((3, 7), np.int64)
    raw = score(labels, encoded.global_vectors, encoded.patches, ones, k=3)
    paper = (
        raw.global_scores / np.linalg.norm(raw.global_scores, axis=1, keepdims=True)
        + raw.local_scores / np.linalg.norm(raw.local_scores, axis=1, keepdims=True)
    ) / 2
    np.testing.assert_allclose(fuse_over_labels(raw).fused, paper, rtol=1e-5, atol=1e-6)


def test_a_zero_vector_has_no_direction_and_no_nan() -> None:
    assert unit(np.zeros((1, 3), np.float32)).tolist() == [[0, 0, 0]]


@given(seed=st.integers(0, 10_000), padded=st.sampled_from([0.0, 0.4, 1.0]), k=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_scores_are_the_same_without_padding(seed: int, padded: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((4, 1 + 5, made.DIM)).astype(np.float32)
    counts = np.where(rng.random((4, 5)) < padded, 0, 8)
    vectors[:, 1:][counts == 0] = 0
    labels = rng.standard_normal((7, made.DIM)).astype(np.float32)
    filled, full = without_padding(vectors, counts, k)
    assert not counts.any() or (full >= k).all()
    found = score(labels, filled[:, 0], filled[:, 1:], full, k=k)
    expected = score(labels, vectors[:, 0], vectors[:, 1:], counts, k=k)
    np.testing.assert_allclose(found.fused, expected.fused, atol=1e-5)
    for n in range(4):
        local = slow_local(labels[0], vectors[n, 1:], counts[n], k)
        np.testing.assert_allclose(found.local_scores[n, 0], local, atol=1e-5)


def test_vectors_that_do_not_fill_k_alone_keep_their_padding() -> None:
    vectors, counts = np.ones((1, 3, 2), np.float32), np.array([[3, 0]])
    assert without_padding(vectors, counts, 4) == (vectors, counts)


def test_a_photo_of_several_views_has_the_scores_of_the_best_view_for_each_label() -> None:
    global_scores = np.array([[1, 2], [5, 0], [0, 1], [3, 3]], np.float32)
    local_scores = np.array([[1, 1], [0, 1], [6, 9], [1, 0]], np.float32)
    found = of_best_view(StreamScores(global_scores, local_scores), [1, 2, 1])
    np.testing.assert_array_equal(found.global_scores, [[1, 2], [0, 1], [3, 3]])
    np.testing.assert_array_equal(found.local_scores, [[1, 1], [6, 9], [1, 0]])
    single = StreamScores(global_scores, local_scores)
    assert of_best_view(single, [1, 1, 1, 1]) is single


def test_the_global_vector_of_several_views_is_their_mean_direction() -> None:
    one = np.array([[0, 3, 4]], np.float32)
    np.testing.assert_allclose(mean_of_views(one), [0, 0.6, 0.8], rtol=1e-6)
    two = np.array([[9, 0, 0], [0, 2, 0]], np.float32)
    np.testing.assert_allclose(mean_of_views(two), [0.5**0.5, 0.5**0.5, 0], rtol=1e-6)


@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.95), k=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_share_of_a_stream_in_stored_lengths_is_its_weight_in_the_score(
    seed: int, share: float, k: int
) -> None:
    rng = np.random.default_rng(seed)
    global_vectors, patches, labels = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (4, 6, 8), (3, 8))
    )
    ones = np.ones((4, 6), np.int64)
    stored = scale(Encoded(global_vectors, patches, share))
    found = score(labels, stored.global_vectors, stored.patches, ones, k=k)
    cosines = score(labels, unit(global_vectors), unit(patches), ones, k=k)
    expected = (1 - share) * cosines.global_scores + share * cosines.local_scores
    np.testing.assert_allclose(found.fused, expected, rtol=1e-4, atol=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_equal_shares_are_the_halves_of_the_paper_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    global_vectors, patches = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((4, 8), (4, 6, 8))
    )
    half = np.float32(0.5)
    stored = scale(Encoded(global_vectors, patches))
    assert stream_weights(0.5) == (half, half)
    assert np.array_equal(stored.global_vectors, unit(global_vectors, half))
    assert np.array_equal(stored.patches, unit(patches, half))
    raw = StreamScores(global_vectors, patches[:, 0])
    for part, stream in (("global_scores", raw.global_scores), ("local_scores", raw.local_scores)):
        norm = np.linalg.norm(stream, axis=1, keepdims=True)
        assert np.array_equal(getattr(fuse_over_labels(raw), part), stream / (2 * norm))
        assert np.array_equal(getattr(weigh(raw, 0.5), part), half * stream)
