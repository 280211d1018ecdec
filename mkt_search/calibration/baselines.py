"""Simpler ways from a score to a choice, and what each is worth beside the calibrator.

They are fitted on the same pairs of photo and label as the calibrator, and kept with it, so that a
test compares them without those photos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.isotonic import fit_isotonic
from mkt_search.calibration.logistic import Logistic, fit_logistic, sigmoid
from mkt_search.calibration.quality import (
    ASKED,
    Bin,
    Quality,
    Reached,
    measure,
    reached_by_cut,
    reliability,
)
from mkt_search.types import Vector

Numbers = NDArray[np.float64]
Targets = NDArray[np.int8]

CALIBRATOR, PLATT = "calibrator", "pooled Platt"
THRESHOLD, ORACLE = "one threshold", "oracle of each label"


@dataclass(frozen=True)
class Baselines:
    """A logistic curve over the score of all labels alone (Platt), and one threshold.

    `thresholds` has, by precision, the lowest score such that the pairs from there on reach it; inf
    where none do.
    """

    platt: Logistic
    thresholds: Mapping[float, float]


@dataclass(frozen=True)
class Measured:
    """What a way from scores to a choice is worth; `quality` is None where it gives no p."""

    reached: Mapping[float, Reached]
    quality: Quality | None = None
    reliability: tuple[Bin, ...] = ()


def fit_baselines(scores: Vector, targets: Targets, *, asked: Sequence[float] = ASKED) -> Baselines:
    """Fit the baselines on fused scores (n, L), with targets (n, L) as those of a calibrator."""
    known = targets != 0
    raw, is_true = scores[known].astype(np.float64), targets[known] > 0
    order = np.argsort(-raw, kind="stable")
    share = np.cumsum(is_true[order]) / np.arange(1, len(raw) + 1)
    thresholds = {}
    for precision in asked:
        enough = np.flatnonzero(share >= precision)
        thresholds[precision] = float(raw[order[enough[-1]]]) if len(enough) else np.inf
    return Baselines(fit_logistic(raw[:, None], is_true), thresholds)


def compare(
    baselines: Baselines,
    p: Numbers,
    scores: Vector,
    targets: Targets,
    *,
    present_from: float,
) -> dict[str, Measured]:
    """Measure a calibrator and its baselines on labels that none of them saw.

    The oracle is what a curve of each label could reach: it is fitted on the very truth it is
    measured on.

    Args:
        baselines: of the calibrator.
        p: (n, L), its probabilities.
        scores: (n, L), fused.
        targets: (n, L), +1, -1, or 0 where the truth is not known.
        present_from: as the calibrator has it.
    """
    probabilities = {
        CALIBRATOR: p,
        PLATT: sigmoid(baselines.platt.logits(scores[..., None].astype(np.float64))),
        ORACLE: _oracle(scores, targets),
    }
    found = {}
    for name, each in probabilities.items():
        quality = measure(each, targets, present_from=present_from)
        found[name] = Measured(quality.reached, quality, tuple(reliability(each, targets)))
    cuts = baselines.thresholds.items()
    found[THRESHOLD] = Measured({a: reached_by_cut(scores >= t, targets) for a, t in cuts})
    return found


def _oracle(scores: Vector, targets: Targets) -> Numbers:
    """Return p (n, L) by a curve for each label; 0 for a label of which nothing is known."""
    p = np.zeros(scores.shape)
    for label, truth in enumerate(targets.T):
        known = truth != 0
        if known.any():
            raw = scores[:, label].astype(np.float64)
            p[:, label] = fit_isotonic(raw[known], (truth[known] > 0).astype(np.float64)).at(raw)
    return p
