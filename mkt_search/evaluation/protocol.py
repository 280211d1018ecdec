"""The protocol of an evaluation: from scores and targets of groups of labels to metrics.

Labels are evaluated in groups: `unseen` alone is the paper's zero-shot protocol (ZSL); `all`, seen
and unseen labels together, is the generalized one (GZSL). `never named` are labels that a
checkpoint's training did not even split off; the paper has none. The paper's fused score divides
each stream by its norm over exactly the labels of the group, so each group is scored separately.
Training and `mkt evaluate` share this module. The references are https://github.com/sunanhe/MKT for
NUS-WIDE and https://github.com/akshitac8/BiAM for Open Images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.evaluation.metrics import (
    LabelMetrics,
    MeanAP,
    PrecisionRecall,
    Targets,
    average_precisions,
    biam_average_precisions,
    label_metrics,
    mean_ap,
    top_labels,
)
from mkt_search.scoring import (
    TINY,
    StreamScores,
    fuse_over_labels,
    score_similarities,
    stream_weights,
    weigh,
)
from mkt_search.types import EQUAL_SHARES, Encoded, Vector

Scale = Literal["vocabulary", "cosine"]
Stream = Literal["global", "local", "fused"]
Group = Literal["unseen", "seen", "all", "never named"]
ProtocolName = Literal["nus-wide", "open-images", "biam"]

STREAMS: tuple[Stream, ...] = ("global", "local", "fused")
PROTOCOLS: dict[Group, str] = {
    "unseen": "ZSL",
    "seen": "seen",
    "all": "GZSL",
    "never named": "never named",
}
F1_AT: dict[ProtocolName, tuple[int, ...]] = {
    **{"nus-wide": (3, 5), "open-images": (10, 20)},
    "biam": (10, 20),
}
LABELS_PER_BLOCK = 1024


@dataclass(frozen=True)
class Rules:
    """The choices that a protocol leaves open.

    Args:
        name: the counting of the paper's figures. `nus-wide` counts every photo and label;
            `open-images` leaves out photos that show no label of the group, and seen labels whose
            targets are unknown on every photo; `biam` does too, and has the AP of BiAM's code.
        f1_at: labels given to every photo, for P, R and F1.
        depth: best photos of each label, for P, R, nDCG and mAP "at k".
        rare_below: a label with fewer positives is rare; 0 means the median of all labels.
    """

    name: ProtocolName = "nus-wide"
    f1_at: tuple[int, ...] = F1_AT["nus-wide"]
    depth: int = 10
    rare_below: int = 0


@dataclass(frozen=True)
class PhotoScores:
    """Scores of n photos for L labels on two scales, and the targets (n, L): +1, -1 or 0.

    `dot` are products of the vectors as they are, from which the vocabulary scale is computed;
    `cosine` are products of unit vectors. Both have the weights of the streams in them, so the
    fused score is the sum of the streams.
    """

    dot: StreamScores
    cosine: StreamScores
    targets: Targets
    local_share: float = EQUAL_SHARES

    def only(self, labels: slice) -> "PhotoScores":
        """Return the same photos with some of the labels."""
        dot, cosine = _columns(self.dot, labels), _columns(self.cosine, labels)
        return PhotoScores(dot, cosine, self.targets[:, labels], self.local_share)

    def with_share(self, local_share: float) -> "PhotoScores":
        """Return the scores with other weights of the streams."""
        factors = zip(stream_weights(local_share), stream_weights(self.local_share), strict=True)
        of_global, of_local = (new / old for new, old in factors)
        dot, cosine = (
            StreamScores(of_global * scores.global_scores, of_local * scores.local_scores)
            for scores in (self.dot, self.cosine)
        )
        return PhotoScores(dot, cosine, self.targets, local_share)

    def streams(self, scale: Scale) -> dict[Stream, Vector]:
        """Return the scores (n, L) of each stream; `vocabulary` normalizes over these labels."""
        is_paper = scale == "vocabulary"
        scores = fuse_over_labels(self.dot, self.local_share) if is_paper else self.cosine
        return {"global": scores.global_scores, "local": scores.local_scores, "fused": scores.fused}


@dataclass(frozen=True)
class GroupMetrics:
    """The metrics of one score on one group of labels.

    `paper_map`, and `top` (P, R and F1 by k), follow the paper's counting; `labels` has the
    standard metrics of each label.
    """

    paper_map: float
    top: dict[int, PrecisionRecall]
    labels: LabelMetrics


def score_encoded(
    encoded: Encoded, labels: Vector, *, k: int, labels_per_block: int = LABELS_PER_BLOCK
) -> tuple[StreamScores, StreamScores]:
    """Score n photos by every patch for labels (L, D).

    Args:
        encoded: global vectors (n, D) and patches (n, P, D).
        labels: (L, D).
        k: patches in the mean of the local score; each scale picks its own.
        labels_per_block: labels scored together; bounds the memory of (n, P, L).

    Returns:
        Scores (n, L) from the vectors as they are, and from unit vectors.
    """
    vectors = np.concatenate(
        [encoded.global_vectors[:, None], encoded.patches], axis=1
    )  # (n, 1 + P, D)
    lengths = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY)  # (n, 1 + P, 1)
    ones = np.ones(encoded.patches.shape[:2], np.int64)  # (n, P)
    dots, cosines = [], []
    for start in range(0, len(labels), labels_per_block):
        products = vectors @ labels[start : start + labels_per_block].T  # (n, 1 + P, L')
        dots.append(score_similarities(products, ones, k=k))
        cosines.append(score_similarities(products / lengths, ones, k=k))
    return weigh(_joined(dots), encoded.local_share), weigh(_joined(cosines), encoded.local_share)


def label_groups(seen: int, labels: int, *, never_named: int = 0) -> dict[Group, slice]:
    """Return the columns of each group that is not empty.

    The first `seen` labels are seen, the last `never_named` were never named, the rest are unseen.
    """
    named = labels - never_named
    found: dict[Group, slice] = {
        "unseen": slice(seen, named),
        "seen": slice(0, seen),
        "all": slice(0, named),
        "never named": slice(named, labels),
    }
    return {name: columns for name, columns in found.items() if columns.start < columns.stop}


def paper_map(scores: Vector, targets: Targets, group: Group, *, rules: Rules) -> MeanAP:
    """Return the mean AP of a group (n, L) over the photos and labels that the rules count."""
    photos = _counted_photos(targets, rules)
    aps = biam_average_precisions if rules.name == "biam" else average_precisions
    ap = aps(scores[photos], targets[photos])
    return mean_ap(ap[_counted_labels(targets[photos], group, rules)])


def group_metrics(
    scores: Vector,
    targets: Targets,
    group: Group,
    *,
    rules: Rules,
    labels: LabelMetrics | None = None,
) -> GroupMetrics:
    """Return the metrics of scores (n, L) of the labels of a group.

    Args:
        scores: (n, L).
        targets: (n, L).
        group: which labels they are.
        rules: the protocol.
        labels: the metrics of each label, if they are known already.
    """
    labels = labels or label_metrics(scores, targets, k=rules.depth)
    photos = _counted_photos(targets, rules)
    if isinstance(photos, slice):  # all photos and labels count, so the APs are known
        paper = mean_ap(labels.ap)
    else:
        paper = paper_map(scores, targets, group, rules=rules)
    top = top_labels(scores[photos], targets[photos], ks=rules.f1_at)
    return GroupMetrics(paper.paper, top, labels)


def rarity_threshold(targets: Targets, rules: Rules) -> float:
    """Return the number of positives below which a label of targets (n, L) is rare."""
    if rules.rare_below:
        return float(rules.rare_below)
    positives = (targets > 0).sum(axis=0)
    return float(np.median(positives[positives > 0])) if positives.any() else 0.0


def retrieval_means(labels: LabelMetrics, rare: float) -> dict[str, dict[str, float]]:
    """Return the means of each metric over `all` labels with a positive, `common` and `rare` ones.

    `labels` counts them; a mean over no label is NaN.
    """
    is_shown = labels.positives > 0
    parts = {
        "all": is_shown,
        "common": is_shown & (labels.positives >= rare),
        "rare": is_shown & (labels.positives < rare),
    }
    return {
        name: {"labels": float(part.sum())} | labels.only(part).means()
        for name, part in parts.items()
    }


def results(scored: PhotoScores, *, seen: int, f1_at: Sequence[int] = (3, 5)) -> dict[str, Any]:
    """Return the short table of a training run; the first `seen` labels are seen.

    `cosine` and `vocabulary` have the standard mAP of each stream by group, None where no photo
    shows a label of the group; `paper` has mAP, P, R and F1 of the fused score in the paper's
    counting.
    """
    rules = Rules(f1_at=tuple(f1_at))
    columns = label_groups(seen, scored.targets.shape[1])
    parts = {name: scored.only(labels) for name, labels in columns.items()}
    found: dict[str, Any] = {"photos": len(scored.targets)}
    maps = {
        scale: {name: _maps(part, scale, name, rules) for name, part in parts.items()}
        for scale in ("cosine", "vocabulary")
    }
    for scale, by_group in maps.items():
        found[scale] = {
            name: {
                stream: None if math.isnan(value.standard) else value.standard
                for stream, value in by_stream.items()
            }
            for name, by_stream in by_group.items()
        }
    found["paper"] = {
        PROTOCOLS[name]: {"mAP": maps["vocabulary"][name]["fused"].paper} | _top(part, rules)
        for name, part in parts.items()
        if name != "seen"
    }
    return found


def top_by_name(top: dict[int, PrecisionRecall]) -> dict[str, float]:
    """Return P, R and F1 by name: "P@3", "R@3", "F1@3", "P@5" ..."""
    found: dict[str, float] = {}
    for k, value in top.items():
        found |= {f"P@{k}": value.precision, f"R@{k}": value.recall, f"F1@{k}": value.f1}
    return found


def _maps(part: PhotoScores, scale: Any, group: Group, rules: Rules) -> dict[Stream, MeanAP]:
    return {
        stream: paper_map(scores, part.targets, group, rules=rules)
        for stream, scores in part.streams(scale).items()
    }


def _top(part: PhotoScores, rules: Rules) -> dict[str, float]:
    scores = part.streams("vocabulary")["fused"]
    return top_by_name(top_labels(scores, part.targets, ks=rules.f1_at))


def _counted_photos(targets: Targets, rules: Rules) -> NDArray[np.int64] | slice:
    """Return the photos that the paper's counting takes."""
    if rules.name == "nus-wide":
        return slice(None)
    return np.flatnonzero((targets > 0).any(axis=1))


def _counted_labels(targets: Targets, group: Group, rules: Rules) -> NDArray[np.int64] | slice:
    """Return the labels whose AP counts.

    The reference for Open Images leaves out seen labels that are unknown on every photo, and counts
    every unseen one.
    """
    if rules.name == "nus-wide" or group == "unseen":
        return slice(None)
    return np.flatnonzero((targets != 0).any(axis=0))


def _columns(scores: StreamScores, labels: slice) -> StreamScores:
    return StreamScores(scores.global_scores[:, labels], scores.local_scores[:, labels])


def _joined(blocks: list[StreamScores]) -> StreamScores:
    """Join blocks of labels."""
    return StreamScores(
        np.concatenate([block.global_scores for block in blocks], axis=1),
        np.concatenate([block.local_scores for block in blocks], axis=1),
    )
