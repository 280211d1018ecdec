"""Ranking metrics in plain numpy: the paper's protocol and standard retrieval metrics.

Scores and targets are (N, L): N photos, L labels. A target is +1 (the photo shows the label), -1
(it does not) or 0 (unknown: the pair is left out of the label's ranking). Ties keep the order of
the photos or labels. The paper's protocol is that of https://github.com/sunanhe/MKT and
https://github.com/akshitac8/BiAM.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector

Targets = NDArray[np.int8]
Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]
PHOTOS_PER_BLOCK = 4096


@dataclass(frozen=True)
class MeanAP:
    """Mean average precision over labels, in two countings.

    `paper` counts a label without positives as 0; `standard` is the mean over the `counted` labels
    with a positive (NaN if there are none).
    """

    paper: float
    standard: float
    counted: int


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision, recall and F1 in [0, 1]."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class LabelMetrics:
    """The quality of the photo ranking of each of L labels; NaN for a label without positives.

    `positives` (L,) counts the photos that show the label; `ap` is (L,); `at` has the metrics of
    the `k` best photos by name (`AT_K`), (L,) each. `curve` (L, R) is the interpolated
    precision-recall curve: the best precision at a recall of at least 0, 1/(R-1), ..., 1.
    """

    k: int
    positives: NDArray[np.int64]
    ap: Floats
    at: dict[str, Floats]
    curve: Floats

    def only(self, labels: NDArray[Any] | slice) -> "LabelMetrics":
        """Return the metrics of some labels."""
        at = {name: values[labels] for name, values in self.at.items()}
        return LabelMetrics(self.k, self.positives[labels], self.ap[labels], at, self.curve[labels])

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over the labels with a positive; NaN if there are none."""
        named = {"mAP": self.ap} | {f"{name}@{self.k}": v for name, v in self.at.items()}
        has_any = self.positives > 0
        if not has_any.any():
            return dict.fromkeys(named, float("nan"))
        return {name: float(values[has_any].mean()) for name, values in named.items()}

    def mean_curve(self) -> Floats:
        """Return the mean curve (R,) over the labels with a positive; NaN if there are none."""
        kept = self.curve[self.positives > 0]
        return kept.mean(axis=0) if len(kept) else np.full(self.curve.shape[1], np.nan)


def average_precisions(scores: Vector, targets: Targets) -> Floats:
    """Return the AP of each label, (L,); NaN for a label without positives.

    AP is the precision at each positive, averaged over the positives.

    Raises:
        ValueError: scores are NaN, or the shapes differ.
    """
    _check(scores, targets)
    values = np.full(scores.shape[1], np.nan)
    for label in np.flatnonzero((targets > 0).any(axis=0)):
        values[label] = _average_precision(_ranks(scores[:, label], targets[:, label]))
    return values


def biam_average_precisions(scores: Vector, targets: Targets) -> Floats:
    """Return the AP of each label as BiAM's code counts it for Open Images; NaN as above.

    For a label it takes the photos whose target for the label is known, and ranks all of their
    known pairs of photo and label together, not the label's scores alone (`compute_AP` in
    util_openimages.py of https://github.com/akshitac8/BiAM). A label counts if such a photo shows
    any label.

    Raises:
        ValueError: scores are NaN, or the shapes differ.
    """
    _check(scores, targets)
    values = np.full(scores.shape[1], np.nan)
    for label in range(scores.shape[1]):
        is_known = targets[:, label] != 0
        if (targets[is_known] > 0).any():
            pairs = targets[is_known].ravel()
            values[label] = _average_precision(_ranks(scores[is_known].ravel(), pairs))
    return values


def mean_average_precision(scores: Vector, targets: Targets) -> MeanAP:
    """Return the mean AP over labels, in the paper's and in the standard counting.

    Raises:
        ValueError: scores are NaN, or the shapes differ.
    """
    return mean_ap(average_precisions(scores, targets))


def mean_ap(ap: Floats) -> MeanAP:
    """Return the mean of APs (L,), in which NaN marks a label without positives."""
    counted = int((~np.isnan(ap)).sum())
    total = float(np.nansum(ap))
    return MeanAP(
        paper=total / max(len(ap), 1),
        standard=total / counted if counted else float("nan"),
        counted=counted,
    )


def top_labels(
    scores: Vector,
    targets: Targets,
    *,
    ks: Sequence[int],
    photos_per_block: int = PHOTOS_PER_BLOCK,
) -> dict[int, PrecisionRecall]:
    """Return micro precision, recall and F1 of giving every photo its k best labels, for each k.

    As in the reference, a label given where the target is unknown is wrong. Without any positive,
    recall and F1 are 0.

    Args:
        scores: (N, L).
        targets: (N, L).
        ks: labels per photo.
        photos_per_block: photos whose labels are ranked together; bounds memory.

    Raises:
        ValueError: scores are NaN, or the shapes differ.
    """
    _check(scores, targets)
    deepest = min(max(ks, default=0), scores.shape[1])
    right = np.zeros(deepest + 1, np.int64)  # [k]: right labels among the k best of all photos
    for start in range(0, len(scores), photos_per_block):
        block = slice(start, start + photos_per_block)
        best = _order(scores[block])[:, :deepest]  # (n, deepest)
        is_right = np.take_along_axis(targets[block], best, axis=1) == 1
        right[1:] += np.cumsum(is_right.sum(axis=0))
    positives = int((targets == 1).sum())
    depths = {k: min(k, deepest) for k in ks}
    return {
        k: _precision_recall(int(right[d]), len(scores) * d, positives) for k, d in depths.items()
    }


def label_metrics(
    scores: Vector, targets: Targets, *, k: int = 10, levels: int = 101
) -> LabelMetrics:
    """Return every metric of each label from one ranking of its photos.

    Args:
        scores: (N, L).
        targets: (N, L).
        k: best photos that the metrics "at k" take.
        levels: R, the number of recall levels of the curve.

    Raises:
        ValueError: scores are NaN, or the shapes differ.
    """
    _check(scores, targets)
    labels = scores.shape[1]
    at = {name: np.full(labels, np.nan) for name in AT_K}
    ap, curve = np.full(labels, np.nan), np.full((labels, levels), np.nan)
    positives = (targets > 0).sum(axis=0)
    for label in np.flatnonzero(positives):
        ranks = _ranks(scores[:, label], targets[:, label])
        ap[label] = _average_precision(ranks)
        curve[label] = _curve(ranks, levels)
        for name, metric in AT_K.items():
            at[name][label] = metric(ranks, k)
    return LabelMetrics(k, positives, ap, at, curve)


def _check(scores: NDArray[Any], targets: NDArray[Any]) -> None:
    if scores.shape != targets.shape:
        raise ValueError(f"scores {scores.shape} and targets {targets.shape} differ in shape")


def _order(scores: NDArray[Any]) -> NDArray[np.intp]:
    """Return the ranking along the last axis, best first; ties keep their order."""
    if np.isnan(scores).any():
        raise ValueError("scores that are NaN cannot be ranked")
    return np.argsort(-scores, axis=-1, kind="stable")


def _ranks(scores: NDArray[Any], targets: NDArray[Any]) -> Ranks:
    """Return the ranks, from 1, of a label's positives among the photos with a known target."""
    is_known = targets != 0
    is_positive = targets[is_known][_order(scores[is_known])] > 0
    return np.flatnonzero(is_positive) + 1


def _precisions(ranks: Ranks) -> Floats:
    """Return the precision at each positive."""
    precisions: Floats = np.arange(1, len(ranks) + 1) / ranks
    return precisions


def _average_precision(ranks: Ranks) -> float:
    return float(_precisions(ranks).mean())


def _precision_at(ranks: Ranks, k: int) -> float:
    return float((ranks <= k).sum() / k)


def _recall_at(ranks: Ranks, k: int) -> float:
    return float((ranks <= k).mean())


def _ndcg_at(ranks: Ranks, k: int) -> float:
    """A positive at rank r gains 1 / log2(r + 1); 1.0 is the best possible ranking."""
    ideal = np.arange(1, min(k, len(ranks)) + 1)
    return float((1 / np.log2(ranks[ranks <= k] + 1)).sum() / (1 / np.log2(ideal + 1)).sum())


def _average_precision_at(ranks: Ranks, k: int) -> float:
    """Divide by the positives there could be among k, so that 1.0 is the best possible ranking."""
    return float(_precisions(ranks)[ranks <= k].sum() / min(k, len(ranks)))


def _curve(ranks: Ranks, levels: int) -> Floats:
    """Return the best precision at any positive that reaches each level of recall, (levels,)."""
    best = np.maximum.accumulate(_precisions(ranks)[::-1])[::-1]
    needed = np.ceil(np.linspace(0, 1, levels) * len(ranks) - 1e-9).astype(np.int64)
    return best[np.maximum(needed - 1, 0)]


def _precision_recall(right: int, given: int, positives: int) -> PrecisionRecall:
    precision, recall = right / max(given, 1), right / max(positives, 1)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return PrecisionRecall(precision, recall, f1)


AT_K: dict[str, Callable[[Ranks, int], float]] = {
    "P": _precision_at,
    "R": _recall_at,
    "nDCG": _ndcg_at,
    "mAP": _average_precision_at,
}
"""Metrics of a label's k best photos, from the ranks of its positives and k."""
