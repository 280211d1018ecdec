"""Simpler ways from a score to a choice, on examples that can be checked in the head."""

import numpy as np
import pytest

from mkt_search.calibration.baselines import ORACLE, PLATT, THRESHOLD, compare, fit_baselines

SCORES = np.array([[0.9], [0.8], [0.7], [0.6], [0.1]], np.float32)
TARGETS = np.array([[1], [1], [-1], [1], [-1]], np.int8)


def test_a_threshold_is_the_lowest_from_which_on_the_precision_is_reached() -> None:
    found = fit_baselines(SCORES, TARGETS, asked=(0.9, 0.75, 0.5)).thresholds
    assert found == pytest.approx({0.9: 0.8, 0.75: 0.6, 0.5: 0.1})
    none = fit_baselines(SCORES, -TARGETS, asked=(0.9,)).thresholds
    assert none == {0.9: np.inf}


def test_the_curve_over_the_score_alone_rises_with_what_is_true() -> None:
    assert fit_baselines(SCORES, TARGETS).platt.weights[0] > 0


def test_pairs_of_unknown_truth_take_no_part() -> None:
    more = np.concatenate([SCORES, [[2.0]]]).astype(np.float32)
    unknown = np.concatenate([TARGETS, [[0]]]).astype(np.int8)
    assert fit_baselines(more, unknown).thresholds == fit_baselines(SCORES, TARGETS).thresholds
    p = np.full(more.shape, 0.5)
    found = compare(fit_baselines(SCORES, TARGETS), p, more, unknown, present_from=0.5)
    assert found[PLATT].quality is not None and found[THRESHOLD].quality is None


def test_the_oracle_is_fitted_on_what_it_is_measured_on() -> None:
    baselines = fit_baselines(-SCORES, TARGETS)
    found = compare(baselines, np.zeros(SCORES.shape), SCORES, TARGETS, present_from=0.5)
    assert found[ORACLE].reached[0.9].precision == 1.0
    nothing = np.zeros((5, 1), np.int8)
    assert compare(baselines, np.zeros((5, 1)), SCORES, nothing, present_from=0.5)[ORACLE]
