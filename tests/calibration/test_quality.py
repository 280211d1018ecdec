"""The quality of probabilities, on examples that can be checked in the head."""

import json

import numpy as np
import pytest

from mkt_search.calibration.quality import (
    as_data,
    best_mean,
    bins,
    choose_present,
    lines,
    measure,
)

P = np.array([[0.9, 0.1], [0.9, 0.1], [0.8, 0.1], [0.1, 0.1], [0.0, 0.2]])
TARGETS = np.array([[1, -1], [1, -1], [1, 0], [-1, 1], [-1, -1]], np.int8)


def test_precision_and_recall_are_those_of_the_longest_prefix_of_each_label() -> None:
    found = measure(P, TARGETS, present_from=0.5)
    reached = found.reached[0.8]
    assert (reached.precision, reached.answered) == (1.0, 1)
    assert reached.recall == pytest.approx((1 + 0) / 2)
    assert (found.labels, found.photos) == (2, 5)


def test_present_and_absent_are_told_by_the_best_photos() -> None:
    found = measure(P, TARGETS, present_from=0.5)
    assert found.auroc == 1.0
    assert (found.absent_answered, found.present_missed) == (0.0, 0.0)
    assert measure(P, TARGETS, present_from=0.9).present_missed == 1.0


def test_the_error_is_the_distance_of_bins_from_the_truth() -> None:
    p = np.full((10, 1), 0.5)
    targets = np.array([[1]] * 8 + [[-1]] * 2, np.int8)
    found = measure(p, targets, present_from=0.5)
    assert found.ece >= 0.3 - 1e-9
    [one] = bins(p[:, 0], targets[:, 0] > 0, 1)
    assert (one.p, one.share, one.pairs) == (0.5, 0.8, 10)


def test_without_any_photo_of_a_label_nothing_is_claimed() -> None:
    found = measure(np.full((4, 2), 0.01), np.full((4, 2), -1, np.int8), present_from=0.5)
    assert (found.labels, found.auroc, found.is_chance) == (0, None, True)
    assert found.reached[0.9].precision is None


def test_a_small_library_lacks_photos_that_would_show_a_label() -> None:
    assert best_mean(np.array([0.9])) == pytest.approx(0.3)
    assert best_mean(np.empty(0)) == 0


def test_where_a_label_counts_as_present_balances_both_mistakes() -> None:
    rng = np.random.default_rng(0)
    p = np.where(np.arange(20)[:, None] < 3, 0.8, 0.2) * np.ones((20, 5))
    targets = np.where(np.arange(20)[:, None] < 3, 1, -1).astype(np.int8).repeat(5, axis=1)
    assert 0.2 < choose_present(p, targets, rng) <= 0.81
    assert choose_present(p, -np.ones_like(targets), rng) == 1.0


def test_a_quality_is_data_and_sentences() -> None:
    found = measure(P, TARGETS, present_from=0.5)
    assert json.loads(json.dumps(as_data(found), default=vars))["labels"] == 2
    assert "no label is answered" in " ".join(
        lines(measure(np.zeros((4, 1)), np.array([[1], [-1], [-1], [-1]]), present_from=1))
    )
    assert "reached" in " ".join(lines(found))
