"""Metrics against examples by hand and against slow plain versions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.evaluation.metrics import (
    average_precisions,
    label_metrics,
    mean_average_precision,
    top_labels,
)


def random_case(seed: int, photos: int = 30, labels: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 12, (photos, labels)).astype(np.float32)  # many ties
    targets = rng.choice([-1, 0, 1], (photos, labels), p=[0.6, 0.2, 0.2]).astype(np.int8)
    targets[:, 0] = np.minimum(targets[:, 0], 0)  # a label that no photo shows
    return scores, targets


def ranked(scores: np.ndarray, targets: np.ndarray) -> list[int]:
    """Return the known targets, best score first, ties in the order of the photos."""
    entries = [(-s, i, t) for i, (s, t) in enumerate(zip(scores, targets, strict=True)) if t != 0]
    return [t for _, _, t in sorted(entries)]


def slow_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    found, precisions = 0, []
    for rank, target in enumerate(ranked(scores, targets), start=1):
        if target == 1:
            found += 1
            precisions.append(found / rank)
    return sum(precisions) / len(precisions) if precisions else float("nan")


def test_average_precision_of_a_ranking_by_hand() -> None:
    scores = np.array([[0.9], [0.8], [0.7], [0.6], [0.5]], np.float32)
    targets = np.array([[1], [-1], [1], [0], [1]], np.int8)  # positives at ranks 1, 3 and 4
    assert average_precisions(scores, targets) == pytest.approx([(1 / 1 + 2 / 3 + 3 / 4) / 3])


@given(st.integers(0, 10_000))
def test_average_precisions_equal_a_loop_over_ranks(seed: int) -> None:
    scores, targets = random_case(seed)
    slow = [slow_average_precision(s, t) for s, t in zip(scores.T, targets.T, strict=True)]
    np.testing.assert_allclose(average_precisions(scores, targets), slow)


def test_the_paper_counts_a_label_without_positives_as_zero() -> None:
    scores = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    targets = np.array([[1, -1], [-1, -1]], np.int8)
    result = mean_average_precision(scores, targets)
    assert (result.paper, result.standard, result.counted) == (0.5, 1.0, 1)


def test_mean_average_precision_without_any_positive_is_nan() -> None:
    result = mean_average_precision(np.ones((2, 2), np.float32), -np.ones((2, 2), np.int8))
    assert result.paper == 0 and math.isnan(result.standard) and result.counted == 0


def test_top_labels_by_hand() -> None:
    scores = np.array([[3, 2, 1], [1, 2, 3]], np.float32)
    targets = np.array([[1, 0, -1], [1, -1, 1]], np.int8)
    result = top_labels(scores, targets, ks=(2,))[
        2
    ]  # given: 0, 1 and 2, 1; right: 0 and 2; 3 positives
    assert (result.precision, result.recall) == (2 / 4, 2 / 3)
    assert result.f1 == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))


@given(st.integers(0, 10_000), st.integers(1, 9))
def test_top_labels_equal_a_loop_over_photos(seed: int, k: int) -> None:
    scores, targets = random_case(seed)
    right = given_ = 0
    for row, truth in zip(scores, targets, strict=True):
        best = sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]
        given_ += len(best)
        right += sum(truth[j] == 1 for j in best)
    result = top_labels(scores, targets, ks=(k,))[k]
    assert result.precision == pytest.approx(right / given_)
    assert result.recall == pytest.approx(right / (targets == 1).sum())


def test_no_right_label_gives_zeros_instead_of_a_division() -> None:
    result = top_labels(np.ones((2, 2), np.float32), -np.ones((2, 2), np.int8), ks=(1,))[1]
    assert (result.precision, result.recall, result.f1) == (0, 0, 0)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_metrics_at_k_equal_plain_loops(seed: int, k: int) -> None:
    scores, targets = random_case(seed)
    found = label_metrics(scores, targets, k=k).at
    for j in range(scores.shape[1]):
        hits = [t == 1 for t in ranked(scores[:, j], targets[:, j])]
        if not any(hits):
            expected = [float("nan")] * 3
        else:
            gain = sum(1 / math.log2(r + 1) for r, hit in enumerate(hits[:k], start=1) if hit)
            best = sum(1 / math.log2(r + 1) for r in range(1, min(k, sum(hits)) + 1))
            expected = [sum(hits[:k]) / k, sum(hits[:k]) / sum(hits), gain / best]
        np.testing.assert_allclose([found[name][j] for name in ("P", "R", "nDCG")], expected)


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        average_precisions(np.array([[np.nan], [1]], np.float32), np.array([[1], [-1]], np.int8))
    with pytest.raises(ValueError, match="differ in shape"):
        average_precisions(np.ones((2, 3), np.float32), np.ones((3, 2), np.int8))


@given(st.integers(0, 10_000), st.lists(st.integers(1, 9), max_size=3))
def test_top_labels_at_several_depths_are_those_of_each(seed: int, ks: list[int]) -> None:
    scores, targets = random_case(seed)
    found = top_labels(scores, targets, ks=ks)
    assert found == {k: top_labels(scores, targets, ks=(k,))[k] for k in ks}


def test_top_labels_do_not_depend_on_the_block_size() -> None:
    scores, targets = random_case(1)
    whole = top_labels(scores, targets, ks=(3,))
    assert top_labels(scores, targets, ks=(3,), photos_per_block=7) == whole


def test_average_precision_at_k_by_hand() -> None:
    scores = np.array([[5], [4], [3], [2], [1]], np.float32)
    targets = np.array([[1], [-1], [1], [-1], [1]], np.int8)  # positives at ranks 1, 3 and 5
    expected = {1: 1.0, 2: 1 / 2, 3: (1 + 2 / 3) / 3, 5: (1 + 2 / 3 + 3 / 5) / 3}
    for k, value in expected.items():
        assert label_metrics(scores, targets, k=k).at["mAP"] == pytest.approx([value])


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_average_precision_at_k_equals_a_loop_over_ranks(seed: int, k: int) -> None:
    scores, targets = random_case(seed)
    metrics = label_metrics(scores, targets, k=k)
    for j in range(scores.shape[1]):
        hits = [t == 1 for t in ranked(scores[:, j], targets[:, j])]
        found, total = 0, 0.0
        for rank, hit in enumerate(hits[:k], start=1):
            found += hit
            total += found / rank if hit else 0
        expected = total / min(k, sum(hits)) if any(hits) else float("nan")
        np.testing.assert_allclose(metrics.at["mAP"][j], expected)


@given(st.integers(0, 10_000))
def test_label_metrics_count_positives_and_have_the_average_precision(seed: int) -> None:
    scores, targets = random_case(seed)
    found = label_metrics(scores, targets)
    np.testing.assert_array_equal(found.positives, (targets == 1).sum(axis=0))
    np.testing.assert_allclose(found.ap, average_precisions(scores, targets))


@given(st.integers(0, 10_000), st.sampled_from([2, 5, 11, 101]))
def test_curve_is_the_best_precision_at_each_recall(seed: int, levels: int) -> None:
    scores, targets = random_case(seed)
    curve = label_metrics(scores, targets, levels=levels).curve
    for j in range(1, scores.shape[1]):
        hits = [t == 1 for t in ranked(scores[:, j], targets[:, j])]
        if not any(hits):
            continue
        points = [
            (sum(hits[:rank]) / sum(hits), sum(hits[:rank]) / rank)
            for rank, hit in enumerate(hits, start=1)
            if hit
        ]
        for level in range(levels):
            reached = [p for recall, p in points if recall >= level / (levels - 1) - 1e-9]
            assert curve[j, level] == pytest.approx(max(reached))


def test_means_are_over_the_labels_that_have_a_positive() -> None:
    scores = np.array([[2, 2, 1], [1, 1, 2]], np.float32)
    targets = np.array([[1, -1, 1], [-1, -1, -1]], np.int8)
    found = label_metrics(scores, targets, k=1)
    assert found.means() == {"mAP": 0.75, "P@1": 0.5, "R@1": 0.5, "nDCG@1": 0.5, "mAP@1": 0.5}
    assert found.mean_curve() == pytest.approx(np.full(101, 0.75))
    assert found.only(slice(0, 1)).means()["mAP"] == 1


def test_means_over_no_label_are_nan() -> None:
    found = label_metrics(np.ones((3, 2), np.float32), -np.ones((3, 2), np.int8), k=2)
    assert all(math.isnan(value) for value in found.means().values())
    assert np.isnan(found.mean_curve()).all()


def test_no_photos_or_no_labels_give_zeros() -> None:
    nothing = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int8)
    assert mean_average_precision(*nothing).paper == 0
    assert top_labels(*nothing, ks=(2,))[2].f1 == 0
    assert label_metrics(*nothing).positives.tolist() == [0, 0, 0]
    assert mean_average_precision(np.zeros((3, 0)), np.zeros((3, 0), np.int8)).paper == 0  # type: ignore[arg-type]
