"""Fit a calibrator on labels whose truth is known, over folds of labels.

What is fitted on some labels is applied to others: so it is here. The labels are cut into folds;
the logits of each come from a regression on the others, and the isotonic curve is fitted on them.
The quality is that of labels that had a part in neither the regression nor the curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.baselines import fit_baselines
from mkt_search.calibration.calibrator import Calibrator, Reference, Stamp
from mkt_search.calibration.features import features
from mkt_search.calibration.isotonic import Isotonic, fit_isotonic
from mkt_search.calibration.logistic import Logistic, fit_logistic
from mkt_search.calibration.quality import choose_present, measure
from mkt_search.errors import CalibrationError
from mkt_search.scoring import score
from mkt_search.store.segments.coding import decode, encode
from mkt_search.types import Vector

Numbers = NDArray[np.float64]
Targets = NDArray[np.int8]

FOLDS = 5
REFERENCES = 50  # as good as 500
REFERENCE_BYTES = 400_000
FEWEST_REFERENCES = 20
FEWEST_PHOTOS = 100
FEWEST_LABELS = 10  # that some photo shows and another does not
MOST_PAIRS = 2_000_000  # of photo and label; more do not change the fit
PHOTOS_PER_BLOCK = 256
FEATURES: tuple[tuple[int, ...], ...] = ((0, 1), (0,), (1,), ())
"""Columns of the features, the better choice first; without any, p is the share of true pairs."""


@dataclass(frozen=True)
class Labeled:
    """Photos whose labels are known: vectors (n, 1 + m, D), counts (n, m), targets (n, L)."""

    vectors: Vector
    counts: NDArray[np.int64]
    targets: Targets

    def __len__(self) -> int:
        return len(self.vectors)

    def at(self, rows: NDArray[np.int64]) -> "Labeled":
        """Return some of the photos."""
        return Labeled(self.vectors[rows], self.counts[rows], self.targets[rows])


def fit(
    labeled: Labeled,
    labels: Sequence[str],
    label_vectors: Vector,
    stamp: Stamp,
    *,
    seed: int = 0,
    made_from: str = "",
) -> Calibrator:
    """Fit a calibrator.

    Args:
        labeled: photos, with targets +1, -1, or 0 where the truth is not known.
        labels: L, best such that the model was not trained on.
        label_vectors: (L, D).
        stamp: of the scores.
        seed: draws the reference photos and the folds.
        made_from: what to say of photos and labels.

    Raises:
        CalibrationError: there are too few photos or labels, or scores are not finite.
    """
    usable = _usable(labeled)
    _check(len(labeled), int(usable.sum()))
    labels = [label for label, is_usable in zip(labels, usable, strict=True) if is_usable]
    label_vectors, targets = label_vectors[usable], labeled.targets[:, usable]
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labeled))
    reference = _reference(labeled.at(order))
    rows = np.sort(order[len(reference) :][: max(FEWEST_PHOTOS, MOST_PAIRS // len(labels))])
    found = _scores(labeled, rows, label_vectors, stamp.top_k)
    x = features(found, reference.statistics(label_vectors, k=stamp.top_k))  # (n, L, F)
    if not np.isfinite(x).all():
        raise CalibrationError(
            "the model gives scores that are not finite numbers, so that they cannot be calibrated."
        )
    part = targets[rows]
    folds = rng.permutation(len(labels)) % FOLDS
    logits = np.empty(part.shape)
    for number in range(FOLDS):
        is_other = folds != number
        logits[:, ~is_other] = _logistic(x[:, is_other], part[:, is_other]).logits(x[:, ~is_other])
    p = np.empty(part.shape)
    for number in range(FOLDS):
        is_other = folds != number
        p[:, ~is_other] = _curve(logits[:, is_other], part[:, is_other]).at(logits[:, ~is_other])
    present_from = choose_present(p, part, rng)
    return Calibrator(
        stamp=stamp,
        reference=reference,
        logistic=_logistic(x, part),
        curve=_curve(logits, part),
        present_from=present_from,
        quality=measure(p, part, present_from=present_from),
        baselines=fit_baselines(found, part),
        labels=tuple(labels),
        made_from=made_from,
    )


def _usable(labeled: Labeled) -> NDArray[np.bool_]:
    """Return (L,): the labels that some photo shows and another does not."""
    is_shown, is_not = (labeled.targets > 0).any(axis=0), (labeled.targets < 0).any(axis=0)
    usable: NDArray[np.bool_] = np.logical_and(is_shown, is_not)
    return usable


def _check(photos: int, labels: int) -> None:
    if photos < FEWEST_PHOTOS:
        raise CalibrationError(
            f"{photos:,} photos are too few to calibrate on: {FEWEST_PHOTOS:,} labeled ones are "
            "needed, better some hundred."
        )
    if labels < FEWEST_LABELS:
        raise CalibrationError(
            f"{labels:,} labels are too few to calibrate on: at least {FEWEST_LABELS} are needed "
            "that some of the photos show and others do not."
        )


def _reference(labeled: Labeled) -> Reference:
    """Return the first photos as the reference, as many as the file has room for.

    Raises:
        CalibrationError: every patch is stored, so that too few would fit.
    """
    each = labeled.vectors[0].size
    count = min(REFERENCES, REFERENCE_BYTES // each, len(labeled) // 2)
    if count < FEWEST_REFERENCES:
        raise CalibrationError(
            f"a photo has {labeled.vectors.shape[1]:,} vectors, too many for a calibrator. Pool "
            "them (pooling cover)."
        )
    return Reference(_rounded(labeled.vectors[:count]), labeled.counts[:count])


def _rounded(vectors: Vector) -> Vector:
    """Return vectors (..., D) as the file keeps them."""
    codes, steps = encode(vectors, "int8")
    return decode(codes, steps, "int8", vectors.shape[-1])


def _scores(labeled: Labeled, rows: NDArray[np.int64], labels: Vector, k: int) -> Vector:
    """Return the fused scores (n, L) of some photos."""
    scores = np.empty((len(rows), len(labels)), np.float32)
    for first in range(0, len(rows), PHOTOS_PER_BLOCK):
        some = rows[first : first + PHOTOS_PER_BLOCK]
        vectors, counts = labeled.vectors[some], labeled.counts[some]
        found = score(labels, vectors[:, 0], vectors[:, 1:], counts, k=k)
        scores[first : first + PHOTOS_PER_BLOCK] = found.fused
    return scores


def _logistic(x: Numbers, targets: Targets) -> Logistic:
    """Fit on the pairs whose truth is known, by those features that let p rise with the score."""
    known = targets != 0
    pairs, is_true = x[known], targets[known] > 0
    for columns in FEATURES:
        found = fit_logistic(pairs[:, list(columns)], is_true)
        if (found.weights >= 0).all():
            weights = np.zeros(x.shape[-1])
            weights[list(columns)] = found.weights
            return Logistic(weights, found.offset)
    raise AssertionError("no features give the share of true pairs")


def _curve(logits: Numbers, targets: Targets) -> Isotonic:
    known = targets != 0
    return fit_isotonic(logits[known], (targets[known] > 0).astype(np.float64))
