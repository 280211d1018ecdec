"""Measure rankings: the paper's protocol and standard retrieval metrics, in plain numpy.

Scores and targets are (N, L): N photos, L labels. A target is +1 (the photo shows the label), -1
(it does not) or 0 (unknown: the entry takes no part). Ties go to the earlier photo or label. The
paper's protocol is that of https://github.com/sunanhe/MKT and https://github.com/akshitac8/BiAM.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector

Targets = NDArray[np.int8]


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
    hits = _ranked_hits(scores, targets)
    ranks = np.flatnonzero(hits) + 1
    if not len(ranks):
        return float("nan")
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def average_precisions(scores: Vector, targets: Targets) -> NDArray[np.float64]:
    """Return (L,) APs, one per label; NaN for a label without a positive."""
    _check(scores, targets)
    return np.array(
        [average_precision(s, t) for s, t in zip(scores.T, targets.T, strict=True)], np.float64
    )


def mean_average_precision(scores: Vector, targets: Targets) -> MeanAP:
    """Return the mean AP over labels in the paper's counting and in the standard one."""
    values = average_precisions(scores, targets)
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
    _check(scores, targets)
    given = order(scores)[:, :k]
    right = int((np.take_along_axis(targets, given, axis=1) == 1).sum())
    precision = right / max(given.size, 1)
    recall = right / max(int((targets == 1).sum()), 1)
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return PrecisionRecall(precision, recall, f1)


def precision_at(scores: Vector, targets: Targets, *, k: int) -> NDArray[np.float64]:
    """Return (L,): the share of each label's k best photos that show it; NaN without a positive."""
    return _per_label(scores, targets, lambda hits: float(hits[:k].sum()) / k)


def recall_at(scores: Vector, targets: Targets, *, k: int) -> NDArray[np.float64]:
    """Return (L,): the share of each label's positives among its k best photos; NaN without one."""
    return _per_label(scores, targets, lambda hits: float(hits[:k].sum() / hits.sum()))


def ndcg_at(scores: Vector, targets: Targets, *, k: int) -> NDArray[np.float64]:
    """Return (L,): normalised discounted cumulative gain of each label's k best photos.

    A photo at rank r (from 1) that shows the label gains 1 / log2(r + 1); 1.0 is the best possible
    ranking. NaN for a label without a positive.
    """
    gains = 1 / np.log2(np.arange(2, k + 2))

    def ndcg(hits: NDArray[np.bool_]) -> float:
        best = gains[: int(hits.sum())].sum()
        return float(gains[: len(hits[:k])][hits[:k]].sum() / best)

    return _per_label(scores, targets, ndcg)


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


def _ranked_hits(scores: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,): whether the n labelled entries show the label, best score first."""
    labelled = targets != 0
    hits: NDArray[np.bool_] = targets[labelled][order(scores[labelled])] > 0
    return hits


def _per_label(
    scores: Vector, targets: Targets, measure: Callable[[NDArray[np.bool_]], float]
) -> NDArray[np.float64]:
    _check(scores, targets)
    values = np.full(scores.shape[1], np.nan)
    for column in np.flatnonzero((targets > 0).any(axis=0)):
        values[column] = measure(_ranked_hits(scores[:, column], targets[:, column]))
    return values
