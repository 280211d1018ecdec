"""What a student reaches on photos: mAP of each stream over unseen, seen and all labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mkt_search import evaluation
from mkt_search.models.student import StudentVectors
from mkt_search.scoring import StreamScores, fuse_over_labels
from mkt_search.types import Vector
from training.data import Targets
from training.losses import ScoreKind, two_stream_scores
from training.sources import Batch

F1_AT = (3, 5)


@dataclass(frozen=True)
class Scored:
    """Scores of n photos for L labels, of raw and of unit vectors.

    `targets` (n, L) are 0 where a photo could not be read.
    """

    dot: StreamScores
    cosine: StreamScores
    targets: Targets

    def only(self, columns: slice) -> "Scored":
        """Return the same photos with some of the labels."""
        return Scored(
            _columns(self.dot, columns), _columns(self.cosine, columns), self.targets[:, columns]
        )


def score_photos(batches: Iterable[Batch], targets: Targets, labels: Vector, *, k: int) -> Scored:
    """Score photos for labels (L, D); targets (N, L) are those of the whole dataset."""
    dots, cosines, truths = [], [], []
    for batch in batches:
        dots.append(_streams(batch.vectors, labels, k, "dot"))
        cosines.append(_streams(batch.vectors, labels, k, "cosine"))
        truths.append(targets[batch.rows] * batch.is_readable[:, None])
    return Scored(_join(dots), _join(cosines), np.concatenate(truths))


def results(scored: Scored, *, seen: int) -> dict[str, Any]:
    """Return the table of a run; the first `seen` columns are the seen labels, the rest unseen.

    `cosine` and `vocabulary` (each stream over its norm over the labels evaluated) give mAP by the
    standard counting for each stream; `paper` has the paper's protocol on the vocabulary score.
    """
    groups = {"unseen": slice(seen, None), "seen": slice(0, seen), "all": slice(None)}
    parts = {name: scored.only(columns) for name, columns in groups.items()}
    parts = {name: part for name, part in parts.items() if part.targets.shape[1]}
    found: dict[str, Any] = {"photos": len(scored.targets)}
    for kind in ("cosine", "vocabulary"):
        found[kind] = {name: _stream_maps(part, kind) for name, part in parts.items()}
    found["paper"] = {
        protocol: _paper(parts[name])
        for protocol, name in (("ZSL", "unseen"), ("GZSL", "all"))
        if name in parts
    }
    return found


def _stream_maps(part: Scored, kind: str) -> dict[str, float]:
    scores = part.cosine if kind == "cosine" else fuse_over_labels(part.dot)
    streams = {"global": scores.global_, "local": scores.local, "fused": scores.fused}
    return {
        name: evaluation.mean_average_precision(values, part.targets).standard
        for name, values in streams.items()
    }


def _paper(part: Scored) -> dict[str, float]:
    scores = fuse_over_labels(part.dot).fused
    found = {"mAP": evaluation.mean_average_precision(scores, part.targets).paper}
    for k in F1_AT:
        top = evaluation.top_labels(scores, part.targets, k=k)
        found |= {f"P@{k}": top.precision, f"R@{k}": top.recall, f"F1@{k}": top.f1}
    return found


def _streams(vectors: StudentVectors, labels: Vector, k: int, kind: ScoreKind) -> StreamScores:
    known = torch.from_numpy(labels).to(vectors.global_.device)
    found = two_stream_scores(known, vectors.global_, vectors.patches, k=k, kind=kind)
    return StreamScores(found.global_.cpu().numpy(), found.local.cpu().numpy())


def _join(parts: list[StreamScores]) -> StreamScores:
    return StreamScores(
        np.concatenate([part.global_ for part in parts]),
        np.concatenate([part.local for part in parts]),
    )


def _columns(scores: StreamScores, columns: slice) -> StreamScores:
    return StreamScores(scores.global_[:, columns], scores.local[:, columns])
