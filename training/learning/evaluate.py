"""What a student reaches on photos while it is trained; the rules are those of `mkt evaluate`."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from mkt_search.datasets.dataset import Targets
from mkt_search.evaluation.protocol import PhotoScores, results
from mkt_search.models.student import StudentVectors
from mkt_search.scoring import StreamScores
from mkt_search.types import Vector
from training.data.sources import Batch
from training.learning.losses import ScoreKind, two_stream_scores

__all__ = ["results", "score_photos"]


def score_photos(
    batches: Iterable[Batch], targets: Targets, labels: Vector, *, k: int
) -> PhotoScores:
    """Score photos for labels (L, D); targets (N, L) are those of the whole dataset.

    Photos that could not be read are left out.
    """
    dots, cosines, truths = [], [], []
    for batch in batches:
        kept = batch.is_readable
        dots.append(_streams(batch.vectors, labels, k, "dot", kept))
        cosines.append(_streams(batch.vectors, labels, k, "cosine", kept))
        truths.append(targets[batch.rows[kept]])
    return PhotoScores(_join(dots), _join(cosines), np.concatenate(truths))


def _streams(
    vectors: StudentVectors, labels: Vector, k: int, kind: ScoreKind, kept: NDArray[np.bool_]
) -> StreamScores:
    known = torch.from_numpy(labels).to(vectors.global_.device)
    found = two_stream_scores(known, vectors.global_, vectors.patches, k=k, kind=kind)
    return StreamScores(found.global_.cpu().numpy()[kept], found.local.cpu().numpy()[kept])


def _join(parts: list[StreamScores]) -> StreamScores:
    return StreamScores(
        np.concatenate([part.global_ for part in parts]),
        np.concatenate([part.local for part in parts]),
    )
