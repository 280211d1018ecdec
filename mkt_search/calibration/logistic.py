"""Logistic regression on a few features, by Newton's method."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

RIDGE = 1.0  # pull of the weights of standardized features towards 0, in units of one observation
MAX_STEPS = 50
TOLERANCE = 1e-9  # a step of the weights that ends the search
STEEPEST = 30.0  # the largest logit, which is as good as certain


@dataclass(frozen=True)
class Logistic:
    """The logit of a probability: `weights` (F,) times the features, plus `offset`."""

    weights: Numbers
    offset: float

    def logits(self, features: Numbers) -> Numbers:
        """Return the logits (...,) of features (..., F)."""
        found: Numbers = features @ self.weights + self.offset
        return found


def fit_logistic(features: Numbers, is_true: NDArray[np.bool_]) -> Logistic:
    """Fit a logistic regression with a weak ridge, which keeps separable data finite.

    Args:
        features: (n, F), finite.
        is_true: (n,), with both outcomes among them.
    """
    center, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    columns = np.column_stack([(features - center) / spread, np.ones(len(features))])  # (n, F + 1)
    penalty = np.append(np.full(features.shape[1], RIDGE), 0.0)  # none on the offset
    share = float(np.clip(is_true.mean(), 1e-6, 1 - 1e-6))
    found = np.append(np.zeros(features.shape[1]), np.log(share / (1 - share)))
    loss = _loss(columns, is_true, found, penalty)
    for _ in range(MAX_STEPS):
        p = sigmoid(columns @ found)
        gradient = columns.T @ (p - is_true) + penalty * found
        weighted = columns * np.maximum(p * (1 - p), 1e-12)[:, None]
        step = np.linalg.solve(columns.T @ weighted + np.diag(penalty + 1e-9), gradient)
        found, before, loss = _downhill(columns, is_true, found, step, penalty, loss)
        if np.abs(found - before).max() < TOLERANCE:
            break
    weights = found[:-1] / spread
    return Logistic(weights, float(found[-1] - weights @ center))


def sigmoid(logits: Numbers) -> Numbers:
    """Return the probabilities of logits (...,)."""
    found: Numbers = 1 / (1 + np.exp(-np.clip(logits, -STEEPEST, STEEPEST)))
    return found


def _downhill(
    columns: Numbers,
    is_true: NDArray[np.bool_],
    found: Numbers,
    step: Numbers,
    penalty: Numbers,
    loss: float,
) -> tuple[Numbers, Numbers, float]:
    """Take a Newton step, halved until the loss falls; return the new and old weights, and loss."""
    for _ in range(MAX_STEPS):
        tried = found - step
        now = _loss(columns, is_true, tried, penalty)
        if now <= loss:
            return tried, found, now
        step = step / 2
    return found, found, loss


def _loss(columns: Numbers, is_true: NDArray[np.bool_], found: Numbers, penalty: Numbers) -> float:
    logits = columns @ found
    fit = np.logaddexp(0, np.where(is_true, -logits, logits)).sum()
    return float(fit + penalty @ found**2 / 2)
