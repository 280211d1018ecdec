"""Measure rankings: the paper's protocol and standard retrieval metrics, in plain numpy.

Scores and targets are (N, L): N photos, L labels. A target is +1 (the photo shows the label), -1
(it does not) or 0 (unknown: the entry takes no part). Ties go to the earlier photo or label. The
paper's protocol is that of https://github.com/sunanhe/MKT and https://github.com/akshitac8/BiAM.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector

Targets = NDArray[np.int8]
Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]
PHOTOS_AT_ONCE = 4096  # whose labels are ranked together


@dataclass(frozen=True)
class MeanAP:
    """Mean average precision over labels, counted both ways, and how many labels had a positive.

    `paper` counts a label without positives as 0; `standard` leaves it out (NaN if none is left).
    """

    paper: float
    standard: float
    counted: int


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision, recall and F1 on [0, 1]."""

    precision: float
    recall: float
    f1: float


def order(scores: NDArray[Any]) -> NDArray[np.intp]:
    """Return the ranking along the last axis, best first; ties keep their order."""
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN: they have no ranking")
    return np.argsort(-scores, axis=-1, kind="stable")


def average_precision(scores: Vector, targets: Targets) -> float:
    """Return the AP of one label: scores (N,), targets (N,). NaN without a positive.

    Only entries labelled +1 or -1 are ranked; precision at each hit is averaged over the positives.
    """
    _check(scores, targets)
    ranks = _hit_ranks(scores, targets)
    return _average_precision(ranks) if len(ranks) else float("nan")


def average_precisions(scores: Vector, targets: Targets) -> Floats:
    """Return (L,) APs, one per label; NaN for a label without a positive."""
    return _per_label(scores, targets, _average_precision)


def mean_average_precision(scores: Vector, targets: Targets) -> MeanAP:
    """Return the mean AP over labels in the paper's counting and in the standard one."""
    return mean_of(average_precisions(scores, targets))


def mean_of(values: Floats) -> MeanAP:
    """Return the mean of APs (L,), NaN for a label without a positive, counted both ways."""
    counted = int((~np.isnan(values)).sum())
    total = float(np.nansum(values))
    return MeanAP(
        paper=total / max(len(values), 1),
        standard=total / counted if counted else float("nan"),
        counted=counted,
    )


def top_labels(scores: Vector, targets: Targets, *, k: int) -> PrecisionRecall:
    """Return micro precision, recall and F1 of giving every photo its k best labels: P, R, F1@k.

    As the reference counts: a given label is right only where the target is +1, so one given where
    the target is unknown counts as wrong. Without any positive, recall and F1 are 0.
    """
    return top_labels_at(scores, targets, ks=(k,))[k]


def top_labels_at(
    scores: Vector, targets: Targets, *, ks: Sequence[int]
) -> dict[int, PrecisionRecall]:
    """Return `top_labels` for several k, from one ranking of each photo's labels."""
    _check(scores, targets)
    deepest = min(max(ks, default=0), scores.shape[1])
    right = np.zeros(deepest + 1, np.int64)  # [k]: right labels among the k best of all photos
    for start in range(0, len(scores), PHOTOS_AT_ONCE):
        rows = slice(start, start + PHOTOS_AT_ONCE)
        best = order(scores[rows])[:, :deepest]
        is_right = np.take_along_axis(targets[rows], best, axis=1) == 1
        right[1:] += np.cumsum(is_right.sum(axis=0))
    positives = int((targets == 1).sum())
    depths = {k: min(k, deepest) for k in ks}
    return {k: _ratios(int(right[d]), len(scores) * d, positives) for k, d in depths.items()}


def precision_at(scores: Vector, targets: Targets, *, k: int) -> Floats:
    """Return (L,): the share of each label's k best photos that show it; NaN without a positive."""
    return _per_label(scores, targets, partial(_precision_at, k=k))


def recall_at(scores: Vector, targets: Targets, *, k: int) -> Floats:
    """Return (L,): the share of each label's positives among its k best photos; NaN without one."""
    return _per_label(scores, targets, partial(_recall_at, k=k))


def ndcg_at(scores: Vector, targets: Targets, *, k: int) -> Floats:
    """Return (L,): normalised discounted cumulative gain of each label's k best photos.

    A photo at rank r (from 1) that shows the label gains 1 / log2(r + 1); 1.0 is the best possible
    ranking. NaN for a label without a positive.
    """
    return _per_label(scores, targets, partial(_ndcg_at, k=k))


def average_precision_at(scores: Vector, targets: Targets, *, k: int) -> Floats:
    """Return (L,): AP of each label's k best photos, whose mean over labels is mAP@k.

    Precision at each hit among the k best, summed and divided by the hits there could be: the
    label's positives, k at most. NaN for a label without a positive.
    """
    return _per_label(scores, targets, partial(_average_precision_at, k=k))


@dataclass(frozen=True)
class LabelMeasures:
    """What a ranking of the photos is worth for each of L labels; NaN without a positive.

    `positives` (L,) photos that show the label; `ap` (L,); `at` the measures of the `k` best photos
    by name, (L,) each; `curve` (L, R): the best precision at a recall of at least 0, 1/(R-1) ... 1.
    """

    k: int
    positives: NDArray[np.int64]
    ap: Floats
    at: dict[str, Floats]
    curve: Floats

    def only(self, chosen: NDArray[Any] | slice) -> "LabelMeasures":
        """Return those of some labels."""
        at = {name: values[chosen] for name, values in self.at.items()}
        return LabelMeasures(
            self.k, self.positives[chosen], self.ap[chosen], at, self.curve[chosen]
        )

    def means(self) -> dict[str, float]:
        """Return the mean of each measure over the labels that have a positive; NaN for none."""
        named = {"mAP": self.ap} | {f"{name}@{self.k}": v for name, v in self.at.items()}
        has_any = self.positives > 0
        if not has_any.any():
            return dict.fromkeys(named, float("nan"))
        return {name: float(values[has_any].mean()) for name, values in named.items()}

    def mean_curve(self) -> Floats:
        """Return (R,): the mean curve over the labels that have a positive; NaN for none."""
        kept = self.curve[self.positives > 0]
        return kept.mean(axis=0) if len(kept) else np.full(self.curve.shape[1], np.nan)


def measure_labels(
    scores: Vector, targets: Targets, *, k: int = 10, levels: int = 101
) -> LabelMeasures:
    """Return every measure of each label, from one ranking of its photos.

    Args:
        scores: (N, L).
        targets: (N, L).
        k: photos looked at by the measures "at k".
        levels: R, at how many levels of recall the curve is taken.
    """
    _check(scores, targets)
    labels = scores.shape[1]
    at = {name: np.full(labels, np.nan) for name in AT}
    ap, curve = np.full(labels, np.nan), np.full((labels, levels), np.nan)
    positives = (targets > 0).sum(axis=0)
    for column in np.flatnonzero(positives):
        ranks = _hit_ranks(scores[:, column], targets[:, column])
        ap[column] = _average_precision(ranks)
        curve[column] = _curve(ranks, levels)
        for name, measure in AT.items():
            at[name][column] = measure(ranks, k=k)
    return LabelMeasures(k, positives, ap, at, curve)


def overlap_at(rankings: NDArray[Any], others: NDArray[Any], *, k: int) -> float:
    """Return the mean share of ids that the first k of two rankings have in common.

    Args:
        rankings: (..., n) ids, best first.
        others: (..., n'), the same queries ranked by something else.
        k: how deep to look; a ranking shorter than k counts for its length.
    """
    first = rankings[..., :k].reshape(-1, rankings[..., :k].shape[-1])
    second = others[..., :k].reshape(-1, others[..., :k].shape[-1])
    depth = max(first.shape[-1], second.shape[-1])
    if not depth:
        raise ValueError("rankings are empty")
    shares = [len(np.intersect1d(a, b)) / depth for a, b in zip(first, second, strict=True)]
    return float(np.mean(shares))


def _check(scores: NDArray[Any], targets: NDArray[Any]) -> None:
    if scores.shape != targets.shape:
        raise ValueError(f"scores {scores.shape} and targets {targets.shape} differ in shape")


def _hit_ranks(scores: NDArray[Any], targets: NDArray[Any]) -> Ranks:
    """The ranks, from 1, of the photos that show the label among those labelled +1 or -1."""
    labelled = targets != 0
    hits = targets[labelled][order(scores[labelled])] > 0
    return np.flatnonzero(hits) + 1


def _per_label(scores: Vector, targets: Targets, measure: Callable[[Ranks], float]) -> Floats:
    _check(scores, targets)
    values = np.full(scores.shape[1], np.nan)
    for column in np.flatnonzero((targets > 0).any(axis=0)):
        values[column] = measure(_hit_ranks(scores[:, column], targets[:, column]))
    return values


def _precisions(ranks: Ranks) -> Floats:
    """Precision at each hit."""
    precisions: Floats = np.arange(1, len(ranks) + 1) / ranks
    return precisions


def _average_precision(ranks: Ranks) -> float:
    return float(_precisions(ranks).mean())


def _precision_at(ranks: Ranks, *, k: int) -> float:
    return float((ranks <= k).sum() / k)


def _recall_at(ranks: Ranks, *, k: int) -> float:
    return float((ranks <= k).mean())


def _ndcg_at(ranks: Ranks, *, k: int) -> float:
    ideal = np.arange(1, min(k, len(ranks)) + 1)
    return float((1 / np.log2(ranks[ranks <= k] + 1)).sum() / (1 / np.log2(ideal + 1)).sum())


def _average_precision_at(ranks: Ranks, *, k: int) -> float:
    return float(_precisions(ranks)[ranks <= k].sum() / min(k, len(ranks)))


def _curve(ranks: Ranks, levels: int) -> Floats:
    """The best precision at any hit that reaches a level of recall, for each level."""
    best = np.maximum.accumulate(_precisions(ranks)[::-1])[::-1]
    wanted = np.ceil(np.linspace(0, 1, levels) * len(ranks) - 1e-9).astype(np.int64)
    return best[np.maximum(wanted - 1, 0)]


def _ratios(right: int, given: int, positives: int) -> PrecisionRecall:
    precision, recall = right / max(given, 1), right / max(positives, 1)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return PrecisionRecall(precision, recall, f1)


AT: dict[str, Callable[..., float]] = {
    "P": _precision_at,
    "R": _recall_at,
    "nDCG": _ndcg_at,
    "mAP": _average_precision_at,
}
"""What is measured of each label's k best photos."""
