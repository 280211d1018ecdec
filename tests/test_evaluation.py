"""Metrics against hand-computed examples and slow plain versions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.evaluation import (
    average_precision,
    average_precisions,
    mean_average_precision,
    ndcg_at,
    overlap_at,
    precision_at,
    recall_at,
    top_labels,
)


def some(seed: int, photos: int = 30, labels: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, (photos, labels)).astype(np.float32)  # many ties
    targets = rng.choice([-1, 0, 1], (photos, labels), p=[0.6, 0.2, 0.2]).astype(np.int8)
    targets[:, 0] = np.minimum(targets[:, 0], 0)  # a label nobody shows
    return scores, targets


def ranked(scores: np.ndarray, targets: np.ndarray) -> list[int]:
    """The labelled targets, best score first, ties in order of the photos."""
    entries = [(-s, i, t) for i, (s, t) in enumerate(zip(scores, targets, strict=True)) if t != 0]
    return [t for _, _, t in sorted(entries)]


def slow_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    found, precisions = 0, []
    for rank, target in enumerate(ranked(scores, targets), start=1):
        if target == 1:
            found += 1
            precisions.append(found / rank)
    return sum(precisions) / len(precisions) if precisions else float("nan")


def test_average_precision_of_a_ranking_done_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    targets = np.array([1, -1, 1, 0, 1], np.int8)  # hits at ranks 1, 3 and 4: the unknown is gone
    assert average_precision(scores, targets) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)


@given(st.integers(0, 10_000))
def test_average_precisions_equal_a_loop_over_ranks(seed: int) -> None:
    scores, targets = some(seed)
    slow = [slow_average_precision(s, t) for s, t in zip(scores.T, targets.T, strict=True)]
    np.testing.assert_allclose(average_precisions(scores, targets), slow)


def test_the_paper_counts_a_label_without_positives_as_zero() -> None:
    scores = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    targets = np.array([[1, -1], [-1, -1]], np.int8)
    result = mean_average_precision(scores, targets)
    assert (result.paper, result.standard, result.counted) == (0.5, 1.0, 1)


def test_mean_average_precision_without_any_positive_is_not_a_number() -> None:
    result = mean_average_precision(np.ones((2, 2), np.float32), -np.ones((2, 2), np.int8))
    assert result.paper == 0 and math.isnan(result.standard) and result.counted == 0


def test_top_labels_done_by_hand() -> None:
    scores = np.array([[3, 2, 1], [1, 2, 3]], np.float32)
    targets = np.array([[1, 0, -1], [1, -1, 1]], np.int8)
    result = top_labels(scores, targets, k=2)  # given: 0, 1 and 2, 1; right: 0 and 2; 3 positives
    assert (result.precision, result.recall) == (2 / 4, 2 / 3)
    assert result.f1 == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_top_labels_equal_a_loop_over_photos(seed: int, k: int) -> None:
    scores, targets = some(seed)
    right = given_ = 0
    for row, truth in zip(scores, targets, strict=True):
        best = sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]
        given_ += len(best)
        right += sum(truth[j] == 1 for j in best)
    result = top_labels(scores, targets, k=k)
    assert result.precision == pytest.approx(right / given_)
    assert result.recall == pytest.approx(right / (targets == 1).sum())


def test_no_right_label_gives_zeros_instead_of_a_division() -> None:
    result = top_labels(np.ones((2, 2), np.float32), -np.ones((2, 2), np.int8), k=1)
    assert (result.precision, result.recall, result.f1) == (0, 0, 0)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_metrics_at_k_equal_plain_loops(seed: int, k: int) -> None:
    scores, targets = some(seed)
    for j in range(scores.shape[1]):
        hits = [t == 1 for t in ranked(scores[:, j], targets[:, j])]
        if not any(hits):
            expected = [float("nan")] * 3
        else:
            gain = sum(1 / math.log2(r + 1) for r, hit in enumerate(hits[:k], start=1) if hit)
            best = sum(1 / math.log2(r + 1) for r in range(1, min(k, sum(hits)) + 1))
            expected = [sum(hits[:k]) / k, sum(hits[:k]) / sum(hits), gain / best]
        measured = [m(scores, targets, k=k)[j] for m in (precision_at, recall_at, ndcg_at)]
        np.testing.assert_allclose(measured, expected)


def test_overlap_counts_what_two_rankings_share() -> None:
    first = np.array([[1, 2, 3, 4], [1, 2, 3, 4]])
    second = np.array([[2, 1, 9, 3], [7, 8, 1, 9]])
    assert overlap_at(first, second, k=2) == pytest.approx((1 + 0) / 2)
    assert overlap_at(first, second, k=3) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert overlap_at(first[0], first[0], k=100) == 1


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        average_precision(np.array([np.nan, 1], np.float32), np.array([1, -1], np.int8))
    with pytest.raises(ValueError, match="differ in shape"):
        average_precisions(np.ones((2, 3), np.float32), np.ones((3, 2), np.int8))
