"""The rules of an evaluation, written once: from scores and targets to what they are worth.

Labels are evaluated in groups: `unseen` alone is the paper's zero-shot protocol (ZSL), `all`, seen
and unseen together, the generalised one (GZSL). The paper's fused score divides each stream by its
norm over exactly the labels of the group, so the groups are scored apart. Training and
`mkt evaluate` both come here. The reference is that of https://github.com/sunanhe/MKT for NUS-WIDE
and of https://github.com/akshitac8/BiAM for Open Images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.evaluation import metrics as evaluation
from mkt_search.evaluation.metrics import LabelMeasures, MeanAP, PrecisionRecall, Targets
from mkt_search.scoring import HALF, TINY, StreamScores, fuse_over_labels, score_similarities
from mkt_search.types import Encoded, Vector

Scale = Literal["vocabulary", "cosine"]
Stream = Literal["global", "local", "fused"]
Group = Literal["unseen", "seen", "all"]
Name = Literal["nus-wide", "open-images"]

STREAMS: tuple[Stream, ...] = ("global", "local", "fused")
PROTOCOLS: dict[Group, str] = {"unseen": "ZSL", "seen": "seen", "all": "GZSL"}
F1_AT: dict[Name, tuple[int, ...]] = {"nus-wide": (3, 5), "open-images": (10, 20)}
LABELS_AT_ONCE = 1024  # scored together; bounds the memory of (B, P, L)


@dataclass(frozen=True)
class Rules:
    """How scores are judged.

    Args:
        name: whose counting the paper's figures follow. `nus-wide` takes every photo and label;
            `open-images` leaves out photos that show no label of the group and, of seen labels,
            those of which nothing is known on any photo.
        f1_at: labels given to every photo, for P, R and F1.
        depth: photos looked at for each label, for P, R, nDCG and mAP "at k".
        rare_below: a label with fewer positives is rare; 0 takes the median of all labels.
    """

    name: Name = "nus-wide"
    f1_at: tuple[int, ...] = F1_AT["nus-wide"]
    depth: int = 10
    rare_below: int = 0


@dataclass(frozen=True)
class Scored:
    """Scores of n photos for L labels on two scales; the fused score is the sum of the streams.

    `dot` is made of the vectors as they are, and becomes the vocabulary scale; `cosine` of unit
    vectors. `targets` (n, L) are +1, -1 or 0.
    """

    dot: StreamScores
    cosine: StreamScores
    targets: Targets

    def only(self, columns: slice) -> "Scored":
        """Return the same photos with some of the labels."""
        targets = self.targets[:, columns]
        dot, cosine = _columns(self.dot, columns), _columns(self.cosine, columns)
        return Scored(dot, cosine, targets)

    def streams(self, scale: Scale) -> dict[Stream, Vector]:
        """Return (n, L) scores of each stream; `vocabulary` is over exactly these labels."""
        scores = fuse_over_labels(self.dot) if scale == "vocabulary" else self.cosine
        return {"global": scores.global_, "local": scores.local, "fused": scores.fused}


@dataclass(frozen=True)
class Measured:
    """What one score of one group of labels is worth.

    `paper` and `top` (P, R and F1 by k) follow the paper's counting; `labels` has what the photos'
    ranking is worth for each label, in the standard counting.
    """

    paper: float
    top: dict[int, PrecisionRecall]
    labels: LabelMeasures


def score_encoded(encoded: Encoded, labels: Vector, *, k: int) -> tuple[StreamScores, StreamScores]:
    """Score n photos with every patch for labels (L, D): by the vectors as they are, and as units.

    Both are (n, L); the mean of the k best patches of a photo is taken on each scale by itself.
    """
    vectors = np.concatenate([encoded.global_[:, None], encoded.patches], axis=1)  # (n, 1 + P, D)
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY)
    ones = np.ones(encoded.patches.shape[:2], np.int64)
    dots, cosines = [], []
    for start in range(0, len(labels), LABELS_AT_ONCE):
        products = vectors @ labels[start : start + LABELS_AT_ONCE].T  # (n, 1 + P, L')
        dots.append(score_similarities(products, ones, k=k))
        cosines.append(score_similarities(products / lengths, ones, k=k))
    return _beside(dots), _beside(cosines)


def groups(seen: int, labels: int) -> dict[Group, slice]:
    """Return the columns of each group that has labels; the first `seen` columns are the seen."""
    found: dict[Group, slice] = {
        "unseen": slice(seen, labels),
        "seen": slice(0, seen),
        "all": slice(0, labels),
    }
    return {name: columns for name, columns in found.items() if columns.start < columns.stop}


def paper_map(scores: Vector, targets: Targets, group: Group, *, rules: Rules) -> MeanAP:
    """Return the mean AP of one group in both countings, on the photos and labels of the rules."""
    kept = counted_photos(targets, rules)
    values = evaluation.average_precisions(scores[kept], targets[kept])
    return evaluation.mean_of(values[_counted_labels(targets[kept], group, rules)])


def counted_photos(targets: Targets, rules: Rules) -> NDArray[np.int64] | slice:
    """Return the photos that the paper's counting takes."""
    if rules.name == "nus-wide":
        return slice(None)
    return np.flatnonzero((targets > 0).any(axis=1))


def measure(
    scores: Vector,
    targets: Targets,
    group: Group,
    *,
    rules: Rules,
    labels: LabelMeasures | None = None,
) -> Measured:
    """Return everything about scores (n, L) of the labels of one group.

    `labels` is what is known of each label's ranking already; it is found here by default.
    """
    labels = labels or evaluation.measure_labels(scores, targets, k=rules.depth)
    kept = counted_photos(targets, rules)
    if isinstance(kept, slice):
        paper = evaluation.mean_of(labels.ap)
    else:
        paper = paper_map(scores, targets, group, rules=rules)
    top = evaluation.top_labels_at(scores[kept], targets[kept], ks=rules.f1_at)
    return Measured(paper.paper, top, labels)


def rare_below(targets: Targets, rules: Rules) -> float:
    """Return how many positives (of targets (n, L)) a label needs at least to be common."""
    if rules.rare_below:
        return float(rules.rare_below)
    positives = (targets > 0).sum(axis=0)
    return float(np.median(positives[positives > 0])) if positives.any() else 0.0


def retrieval(labels: LabelMeasures, rare: float) -> dict[str, dict[str, float]]:
    """Return the mean of each measure over all labels with a positive, over common and rare ones.

    `labels` counts how many those are; a mean over none is NaN.
    """
    shown = labels.positives > 0
    parts = {
        "all": shown,
        "common": shown & (labels.positives >= rare),
        "rare": shown & (labels.positives < rare),
    }
    return {
        name: {"labels": float(chosen.sum())} | labels.only(chosen).means()
        for name, chosen in parts.items()
    }


def results(scored: Scored, *, seen: int, f1_at: Sequence[int] = (3, 5)) -> dict[str, Any]:
    """Return the short table of a training run; the first `seen` columns are the seen labels.

    `cosine` and `vocabulary` (each stream over its norm over the labels evaluated) give mAP by the
    standard counting for each stream; `paper` has the paper's protocol on the vocabulary score.
    """
    rules = Rules(f1_at=tuple(f1_at))
    columns = groups(seen, scored.targets.shape[1])
    parts = {name: scored.only(chosen) for name, chosen in columns.items()}
    found: dict[str, Any] = {"photos": len(scored.targets)}
    maps = {
        scale: {name: _maps(part, scale, name, rules) for name, part in parts.items()}
        for scale in ("cosine", "vocabulary")
    }
    for scale, by_group in maps.items():
        found[scale] = {
            name: {stream: value.standard for stream, value in by_stream.items()}
            for name, by_stream in by_group.items()
        }
    found["paper"] = {
        PROTOCOLS[name]: {"mAP": maps["vocabulary"][name]["fused"].paper} | _top(part, rules)
        for name, part in parts.items()
        if name != "seen"
    }
    return found


def _maps(part: Scored, scale: Any, group: Group, rules: Rules) -> dict[Stream, MeanAP]:
    return {
        stream: paper_map(scores, part.targets, group, rules=rules)
        for stream, scores in part.streams(scale).items()
    }


def _top(part: Scored, rules: Rules) -> dict[str, float]:
    scores = part.streams("vocabulary")["fused"]
    return named(evaluation.top_labels_at(scores, part.targets, ks=rules.f1_at))


def named(top: dict[int, PrecisionRecall]) -> dict[str, float]:
    """Return P, R and F1 under their names: "P@3", "R@3", "F1@3", "P@5" ..."""
    found: dict[str, float] = {}
    for k, ratios in top.items():
        found |= {f"P@{k}": ratios.precision, f"R@{k}": ratios.recall, f"F1@{k}": ratios.f1}
    return found


def _counted_labels(targets: Targets, group: Group, rules: Rules) -> NDArray[np.int64] | slice:
    """The labels whose AP counts: the reference for Open Images leaves out seen labels that no
    photo tells anything of, and keeps every unseen one."""
    if rules.name == "nus-wide" or group == "unseen":
        return slice(None)
    return np.flatnonzero((targets != 0).any(axis=0))


def _columns(scores: StreamScores, columns: slice) -> StreamScores:
    return StreamScores(scores.global_[:, columns], scores.local[:, columns])


def _beside(parts: list[StreamScores]) -> StreamScores:
    """The scores of all labels, halved: the fused score is then their sum."""
    return StreamScores(
        HALF * np.concatenate([part.global_ for part in parts], axis=1),
        HALF * np.concatenate([part.local for part in parts], axis=1),
    )
