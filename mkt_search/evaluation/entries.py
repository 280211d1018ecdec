"""From the scores of one entry to the rows of a report and the data of its plots."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mkt_search.evaluation.metrics import LabelMetrics, Targets, label_metrics
from mkt_search.evaluation.protocol import (
    Group,
    GroupMetrics,
    PhotoScores,
    Rules,
    Scale,
    Stream,
    group_metrics,
    label_groups,
    rarity_threshold,
    retrieval_means,
    top_by_name,
)
from mkt_search.evaluation.report import Entry, Histogram, PlotData, Row
from mkt_search.types import Vector

HISTOGRAM_BINS = 60


@dataclass(frozen=True)
class EntryMetrics:
    """The rows of an entry, one for each scale, group and stream, and the data of its plots."""

    rows: tuple[Row, ...]
    plots: PlotData


def score_entry(
    entry: Entry, scored: PhotoScores, *, seen: int, never_named: int = 0, rules: Rules
) -> EntryMetrics:
    """Measure every stream on every group of labels, on both scales.

    Args:
        entry: what was scored.
        scored: its scores; the first `seen` labels are seen, the last `never_named` never named.
        rules: the protocol; P, R and F1 are those of seen and unseen labels.
    """
    groups = label_groups(seen, scored.targets.shape[1], never_named=never_named)
    rare = rarity_threshold(scored.targets, rules)
    cosine = {
        stream: label_metrics(scores, scored.targets, k=rules.depth)
        for stream, scores in scored.streams("cosine").items()
    }

    measured: dict[tuple[Group, Stream], LabelMetrics] = {}

    def rows(scale: Scale) -> list[Row]:
        found = []
        for group, columns in groups.items():
            part = scored.only(columns)
            for stream, scores in part.streams(scale).items():
                # A cosine does not depend on the other labels; the vocabulary scale does.
                known = cosine[stream].only(columns) if scale == "cosine" else None
                counted = replace(rules, f1_at=()) if group == "never named" else rules
                metrics = group_metrics(scores, part.targets, group, rules=counted, labels=known)
                found.append(_row(entry, stream, scale, group, metrics, rare))
                if scale == "vocabulary":
                    measured[group, stream] = metrics.labels
        return found

    found = (*rows("vocabulary"), *rows("cosine"))
    return EntryMetrics(found, _plot_data(entry, scored, groups, measured))


def histogram(scores: Vector, targets: Targets) -> Histogram:
    """Return the distribution of the scores of positives and of negatives.

    The shares of each sum to 1, or to 0 where there are none; unknown targets are left out.
    """
    known = scores[targets != 0]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, HISTOGRAM_BINS + 1)
    return Histogram(
        edges, _shares(scores[targets > 0], edges), _shares(scores[targets < 0], edges)
    )


def _row(
    entry: Entry, stream: Stream, scale: Scale, group: Group, metrics: GroupMetrics, rare: float
) -> Row:
    paper = {"mAP": metrics.paper_map} | top_by_name(metrics.top)
    return Row(entry, stream, scale, group, paper, retrieval_means(metrics.labels, rare))


def _plot_data(
    entry: Entry,
    scored: PhotoScores,
    groups: dict[Group, slice],
    metrics: dict[tuple[Group, Stream], LabelMetrics],
) -> PlotData:
    curves = {part: found.mean_curve() for part, found in metrics.items()}
    histograms = {}
    for group, columns in groups.items():
        part = scored.only(columns)
        for stream, scores in part.streams("vocabulary").items():
            histograms[group, stream] = histogram(scores, part.targets)
    apart: tuple[Group, ...] = ("all", "never named")  # each label is in one of these
    parts = [metrics[group, "fused"] for group in apart if group in groups]
    return PlotData(
        entry,
        np.concatenate([part.ap for part in parts]),
        np.concatenate([part.positives for part in parts]),
        curves,
        histograms,
    )


def _shares(values: Vector, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
    shares: NDArray[np.float64] = counts / max(len(values), 1)
    return shares
