"""Logistic regression."""

import numpy as np
import pytest

from mkt_search.calibration.logistic import RIDGE, fit_logistic, sigmoid


def test_the_weights_are_those_that_many_small_steps_find() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) * (1.0, 5.0) + (0.0, 2.0)
    is_true = rng.random(300) < sigmoid(2 * x[:, 0] - 0.3 * x[:, 1])
    found = fit_logistic(x, is_true)
    center, spread = x.mean(axis=0), x.std(axis=0)
    columns = np.column_stack([(x - center) / spread, np.ones(300)])
    slow = np.zeros(3)
    for _ in range(20_000):
        pull = np.append(np.full(2, RIDGE), 0.0) * slow
        slow -= 0.005 * (columns.T @ (sigmoid(columns @ slow) - is_true) + pull)
    assert found.weights == pytest.approx(slow[:2] / spread, abs=1e-4)
    assert found.offset == pytest.approx(slow[2] - slow[:2] / spread @ center, abs=1e-4)


def test_data_that_a_line_separates_give_finite_weights() -> None:
    found = fit_logistic(np.arange(20.0)[:, None], np.arange(20) >= 10)
    assert np.isfinite(found.weights).all() and found.weights[0] > 0


def test_a_feature_that_never_varies_has_no_effect() -> None:
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    found = fit_logistic(x, np.arange(10) % 2 == 0)
    assert np.isfinite(found.logits(x)).all()
