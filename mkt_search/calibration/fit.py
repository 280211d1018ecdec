"""Fit a calibrator on labels whose truth is known, over folds of labels.

What is fitted on some labels is applied to others: so it is here. The labels are cut into folds;
the logits of each come from a regression on the others, and the isotonic curve is fitted on them.
The quality is that of labels that had a part in neither the regression nor the curve.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Part:
    """Photos whose vectors are of one model, with L labels and their vectors (L, D)."""

    labeled: Labeled
    labels: Sequence[str]
    label_vectors: Vector

    def usable(self) -> "Part":
        """Return the labels that some photo shows and another does not."""
        is_shown = (self.labeled.targets > 0).any(axis=0)
        columns = np.flatnonzero(is_shown & (self.labeled.targets < 0).any(axis=0))
        labels = [self.labels[column] for column in columns.tolist()]
        labeled = replace(self.labeled, targets=self.labeled.targets[:, columns])
        return Part(labeled, labels, self.label_vectors[columns])


def fit(
    labeled: Labeled,
    labels: Sequence[str],
    label_vectors: Vector,
    stamp: Stamp,
    *,
    seed: int = 0,
    made_from: str = "",
) -> Calibrator:
    """Fit a calibrator on photos of the model itself.

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
    part = Part(labeled, labels, label_vectors).usable()
    check_enough(len(labeled), len(part.labels))
    rng = np.random.default_rng(seed)
    found = _Scored.of(part, stamp.top_k, rng)
    x, targets = found.x, found.targets
    folds = rng.permutation(len(part.labels)) % FOLDS
    logits = np.empty(targets.shape)
    for number in range(FOLDS):
        is_other = folds != number
        logistic = _logistic(x[:, is_other], targets[:, is_other])
        logits[:, ~is_other] = logistic.logits(x[:, ~is_other])
    p = _by_other_labels(logits, targets, folds)
    present_from = choose_present(p, targets, rng)
    return Calibrator(
        stamp=stamp,
        reference=found.reference,
        logistic=_logistic(x, targets),
        curve=_curve(logits, targets),
        present_from=present_from,
        quality=measure(p, targets, present_from=present_from),
        baselines=fit_baselines(found.scores, targets),
        labels=tuple(part.labels),
        made_from=made_from,
    )


@dataclass(frozen=True)
class Fold:
    """Photos of a student that learned from others, and from all labels but those held out."""

    part: Part
    held_out: Collection[str]

    @property
    def is_held_out(self) -> NDArray[np.bool_]:
        """(L,): which labels of the part are held out."""
        return np.isin(self.part.labels, list(self.held_out))


def fit_on_folds(
    own: Part,
    folds: Sequence[Fold],
    stamp: Stamp,
    *,
    seed: int = 0,
    made_from: str = "",
) -> Calibrator:
    """Fit a calibrator for a model that learned every label whose truth is known.

    The regression is fitted on labels that the model learned, and the curve on what labels that a
    model did not learn come to by such a regression: in each fold, one on the labels that its
    student learned gives the logits of those held out. So how high a student scores is its own,
    whatever it took to train it, and how much less a new label's score says is that of the folds.

    Args:
        own: photos of the model itself, best such that it did not learn from them.
        folds: no label is held out in two of them.
        stamp: of the scores of the model.
        seed: draws the reference photos and the folds of labels.
        made_from: what to say of photos and labels.

    Raises:
        CalibrationError: there are too few photos or labels, or scores are not finite.
    """
    own = own.usable()
    check_enough(len(own.labeled), len(own.labels))
    rng = np.random.default_rng(seed)
    found = _Scored.of(own, stamp.top_k, rng)
    folds = [replace(each, part=each.part.usable()) for each in folds]
    folds = [each for each in folds if 0 < each.is_held_out.sum() < len(each.part.labels)]
    photos = sum(len(each.part.labeled) for each in folds)
    check_enough(photos, sum(int(each.is_held_out.sum()) for each in folds))
    logits, targets = _joined([_transferred(each, stamp.top_k, rng) for each in folds])
    p = _by_other_labels(logits, targets, rng.permutation(targets.shape[1]) % FOLDS)
    present_from = choose_present(p, targets, rng)
    return Calibrator(
        stamp=stamp,
        reference=found.reference,
        logistic=_logistic(found.x, found.targets),
        curve=_curve(logits, targets),
        present_from=present_from,
        quality=measure(p, targets, present_from=present_from),
        baselines=fit_baselines(found.scores, found.targets),
        labels=tuple(own.labels),
        made_from=made_from,
    )


def _transferred(each: Fold, k: int, rng: np.random.Generator) -> tuple[Numbers, Targets]:
    """Return logits and targets of the labels held out, by a regression on the others."""
    found, is_held = _Scored.of(each.part, k, rng), each.is_held_out
    logistic = _logistic(found.x[:, ~is_held], found.targets[:, ~is_held])
    return logistic.logits(found.x[:, is_held]), found.targets[:, is_held]


def _joined(parts: Sequence[tuple[Numbers, Targets]]) -> tuple[Numbers, Targets]:
    """Return parts as one, where the truth of a photo for labels of another is not known."""
    shape = sum(len(targets) for _, targets in parts), sum(t.shape[1] for _, t in parts)
    logits, targets = np.zeros(shape), np.zeros(shape, np.int8)
    row = column = 0
    for some, truth in parts:
        n, count = truth.shape
        place = (slice(row, row + n), slice(column, column + count))
        logits[place], targets[place] = some, truth
        row, column = row + n, column + count
    return logits, targets


def _by_other_labels(logits: Numbers, targets: Targets, folds: NDArray[np.int64]) -> Numbers:
    """Return p (n, L) by curves that are fitted on the other folds of labels; folds (L,)."""
    p = np.empty(targets.shape)
    for number in range(FOLDS):
        is_other = folds != number
        curve = _curve(logits[:, is_other], targets[:, is_other])
        p[:, ~is_other] = curve.at(logits[:, ~is_other])
    return p


@dataclass(frozen=True)
class _Scored:
    """Scores (n, L) of photos, their features (n, L, F), the targets, and the reference photos."""

    scores: Vector
    x: Numbers
    targets: Targets
    reference: Reference

    @classmethod
    def of(cls, part: Part, k: int, rng: np.random.Generator) -> "_Scored":
        """Score photos, with k best patches."""
        labeled = part.labeled
        most = max(FEWEST_PHOTOS, MOST_PAIRS // len(part.labels))
        order = rng.permutation(len(labeled))
        reference = reference_of(labeled.at(order))
        rows = np.sort(order[len(reference) :][:most])
        found = _scores(labeled, rows, part.label_vectors, k)
        x = features(found, reference.statistics(part.label_vectors, k=k))
        if not np.isfinite(x).all():
            raise CalibrationError(
                "the model gives scores that are not finite numbers, so that they cannot be"
                " calibrated."
            )
        return cls(found, x, labeled.targets[rows], reference)


def check_enough(photos: int, labels: int) -> None:
    """Raise CalibrationError if there are too few photos or labels to calibrate on."""
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


def reference_of(labeled: Labeled) -> Reference:
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
