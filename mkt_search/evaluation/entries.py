"""From the scores of one entry to the rows of a report, and to what its plots are drawn from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.evaluation.metrics import LabelMeasures, Targets, measure_labels
from mkt_search.evaluation.protocol import (
    STREAMS,
    Group,
    Measured,
    Rules,
    Scale,
    Scored,
    Stream,
    groups,
    measure,
    named,
    rare_below,
    retrieval,
)
from mkt_search.evaluation.report import Entry, Figure, Histogram, Row
from mkt_search.types import Vector

BINS = 60  # of a histogram of scores


@dataclass(frozen=True)
class Judged:
    """What the scores of an entry are worth."""

    rows: tuple[Row, ...]
    figure: Figure


def judge(entry: Entry, scored: Scored, *, seen: int, rules: Rules) -> Judged:
    """Judge every stream on every group of labels, on the vocabulary scale and on the cosine scale.

    Args:
        entry: whose scores they are.
        scored: of n photos; the first `seen` of the labels are the seen ones.
        rules: how they are judged.
    """
    parts = groups(seen, scored.targets.shape[1])
    rare = rare_below(scored.targets, rules)
    rows = [
        _row(entry, stream, "vocabulary", group, found, rare)
        for group, columns in parts.items()
        for stream, found in _measured(scored.only(columns), group, rules)
    ]
    own = {
        stream: measure_labels(scores, scored.targets, k=rules.depth)
        for stream, scores in scored.streams("cosine").items()
    }
    for group, columns in parts.items():
        part = scored.only(columns)
        for stream, scores in part.streams("cosine").items():
            known = own[stream].only(columns)  # of this scale, the other labels change nothing
            found = measure(scores, part.targets, group, rules=rules, labels=known)
            rows.append(_row(entry, stream, "cosine", group, found, rare))
    return Judged(tuple(rows), _figure(entry, scored, parts, own))


def _measured(part: Scored, group: Group, rules: Rules) -> Iterator[tuple[Stream, Measured]]:
    for stream, scores in part.streams("vocabulary").items():
        yield stream, measure(scores, part.targets, group, rules=rules)


def _row(
    entry: Entry, stream: Stream, scale: Scale, group: Group, found: Measured, rare: float
) -> Row:
    paper = {"mAP": found.paper} | named(found.top)
    return Row(entry, stream, scale, group, paper, retrieval(found.labels, rare))


def _figure(
    entry: Entry,
    scored: Scored,
    parts: dict[Group, slice],
    own: dict[Stream, LabelMeasures],
) -> Figure:
    fused = scored.streams("cosine")["fused"]
    curves = {
        (group, stream): own[stream].only(columns).mean_curve()
        for group, columns in parts.items()
        for stream in STREAMS
    }
    histograms = {
        group: histogram(fused[:, columns], scored.targets[:, columns])
        for group, columns in parts.items()
    }
    return Figure(entry, own["fused"].ap, own["fused"].positives, curves, histograms)


def histogram(scores: Vector, targets: Targets) -> Histogram:
    """Return how the scores of entries labelled +1 and of those labelled -1 are spread.

    Each kind's shares sum to 1, or are 0 where there is none of it.
    """
    known = scores[targets != 0]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    return Histogram(
        edges, _shares(scores[targets > 0], edges), _shares(scores[targets < 0], edges)
    )


def _shares(values: Vector, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts = np.histogram(values.clip(edges[0], edges[-1]), edges)[0]
    shares: NDArray[np.float64] = counts / max(len(values), 1)
    return shares
