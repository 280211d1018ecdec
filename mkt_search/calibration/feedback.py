"""What a few judgements of a label's hits teach: another direction to search in, and another p.

The label vector takes a step towards what the photos with a yes have, and away from what those with
a no have (Rocchio, 1971). A judgement counts as much as it surprises: a photo of p 0.99 that shows
the label teaches nothing. Scores for the new vector are brought to the mean and the spread that the
label itself has over reference photos, so that the calibrator understands them.

The logit of p gets an offset: the most probable one for the judgements, under a normal prior around
0, which is what the calibrator says of every label.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator, Reference
from mkt_search.calibration.features import LabelStatistics
from mkt_search.calibration.logistic import sigmoid
from mkt_search.scoring import patch_weights, score, unit
from mkt_search.types import Vector

Numbers = NDArray[np.float64]

SURE = 0.995  # the largest p of a judged photo, so that one odd answer is no proof
MAX_STEPS = 50
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Strength:
    """How far judgements count; the benchmark `feedback.py` chose the defaults on trained labels.

    step: length of the step for many surprising judgements; a label vector has length 1.
    half_step_at: surprise, of all photos with one answer, that makes half of the step.
    offset_variance: of the prior of the offset.
    """

    step: float = 0.5
    half_step_at: float = 1.5
    offset_variance: float = 0.1


DEFAULT = Strength()


@dataclass(frozen=True)
class JudgedPhotos:
    """Photos with answers: vectors (n, 1 + m, D), the global one first; counts (n, m)."""

    vectors: Vector
    counts: NDArray[np.int64]
    is_yes: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.is_yes)


@dataclass(frozen=True)
class Learned:
    """What judgements teach of a label: its new vector (D,), and the offset of the logit of p."""

    vector: Vector
    offset: float = 0.0


def learn(
    label: Vector,
    judged: JudgedPhotos,
    reference: Reference,
    calibrator: Calibrator | None,
    *,
    k: int,
    strength: Strength = DEFAULT,
) -> Learned:
    """Return what judgements teach of a label.

    Args:
        label: its unit vector (D,).
        judged: photos that people judged for it.
        reference: photos that say what any photo has; those of the calibrator, or some others.
        calibrator: None, or one that cannot tell, makes all judgements equally surprising.
        k: best patches in a score.
        strength: of judgements.
    """
    if not len(judged):
        return Learned(label)
    if calibrator is None or calibrator.quality.is_chance:
        return Learned(_moved(label, judged, np.full(len(judged), 0.5), reference, k, strength))
    vectors, counts = judged.vectors, judged.counts
    scores = score(label[None], vectors[:, 0], vectors[:, 1:], counts, k=k).fused
    p = calibrator.probabilities(scores, calibrator.statistics(label[None]))[:, 0]
    offset = best_offset(p, judged.is_yes, strength.offset_variance)
    return Learned(_moved(label, judged, p, reference, k, strength), offset)


def best_offset(p: Numbers, is_yes: NDArray[np.bool_], variance: float) -> float:
    """Return the most probable offset of the logits of p (n,) for answers (n,).

    Args:
        p: (n,).
        is_yes: (n,).
        variance: of its prior; 0 allows none.
    """
    if not variance:
        return 0.0
    p = np.clip(p, 1 - SURE, SURE)
    logits, offset = np.log(p / (1 - p)), 0.0
    for _ in range(MAX_STEPS):
        now = sigmoid(logits + offset)
        gradient = float((is_yes - now).sum()) - offset / variance
        step = gradient / (float((now * (1 - now)).sum()) + 1 / variance)
        offset += step
        if abs(step) < TOLERANCE:
            break
    return offset


def shifted(p: Numbers, offset: Numbers | float) -> Numbers:
    """Return p with an offset added to its logit; 0 and 1 stay."""
    odds = np.exp(offset)
    found: Numbers = p * odds / (1 - p + p * odds)
    return found


def like_the_label(scores: Vector, moved: LabelStatistics, label: LabelStatistics) -> Numbers:
    """Return scores (n, L) for new vectors as the labels themselves would have them.

    Args:
        scores: for the new vectors.
        moved: of the new vectors.
        label: of the labels.
    """
    found: Numbers = label.mean + label.spread * (
        (scores.astype(np.float64) - moved.mean) / moved.spread
    )
    return found


def _moved(
    label: Vector,
    judged: JudgedPhotos,
    p: Numbers,
    reference: Reference,
    k: int,
    strength: Strength,
) -> Vector:
    """Return the unit vector (D,) after a step."""
    usual = _scored(label, reference.vectors, reference.counts, k).mean(axis=0)
    features = _scored(label, judged.vectors, judged.counts, k) - usual  # (n, D)
    surprise = np.abs(judged.is_yes - p)
    step = np.zeros(len(label))
    for sign, weights in ((1, surprise * judged.is_yes), (-1, surprise * ~judged.is_yes)):
        step += sign * (weights @ features) / (weights.sum() + strength.half_step_at)
    return unit((label + strength.step * step).astype(np.float32))


def _scored(label: Vector, vectors: Vector, counts: NDArray[np.int64], k: int) -> Vector:
    """Return the part (n, D) of each photo whose inner product with the label is its score."""
    weights = patch_weights(vectors[:, 1:] @ label, counts, k)  # (n, m)
    found: Vector = vectors[:, 0] + np.einsum("nm,nmd->nd", weights, vectors[:, 1:])
    return found
