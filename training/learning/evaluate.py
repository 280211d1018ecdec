"""Results of a student during training, by the rules of `mkt evaluate`."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mkt_search.datasets.dataset import Rows, Targets
from mkt_search.evaluation.protocol import PhotoScores, results
from mkt_search.models.student import StudentVectors
from mkt_search.scoring import StreamScores, weigh
from mkt_search.types import EQUAL_SHARES, Vector
from training.data.sources import Batch, Source
from training.data.task import Task
from training.learning.losses import ScoreKind, two_stream_scores


def evaluate(
    task: Task,
    source: Source,
    rows: Rows,
    vectors: Vector,
    *,
    k: int,
    local_share: float = EQUAL_SHARES,
) -> tuple[dict[str, Any], Rows]:
    """Return the results on some photos, and the rows that cannot be read.

    Args:
        rows: the photos; without any the results are empty.
        vectors: (L, D), the vectors of the task's labels.
        k: best patches averaged by the local stream.
        local_share: weight of the local stream.
    """
    if not len(rows):
        return {}, rows
    unreadable: list[Rows] = []
    batches = _noting_unreadable(source.ordered_batches(rows), unreadable)
    scored = score_photos(batches, task.dataset.targets, vectors, k=k, local_share=local_share)
    return results(scored, seen=task.seen), np.concatenate(unreadable)


def score_photos(
    batches: Iterable[Batch],
    targets: Targets,
    labels: Vector,
    *,
    k: int,
    local_share: float = EQUAL_SHARES,
) -> PhotoScores:
    """Score photos for labels (L, D); targets (N, L) are those of the whole dataset.

    Photos that cannot be read are left out.
    """
    dots, cosines, truths = [], [], []
    for batch in batches:
        kept = batch.is_readable
        dots.append(_streams(batch.vectors, labels, k, "dot", kept))
        cosines.append(_streams(batch.vectors, labels, k, "cosine", kept))
        truths.append(targets[batch.rows[kept]])
    dot, cosine = (weigh(_concatenated(parts), local_share) for parts in (dots, cosines))
    return PhotoScores(dot, cosine, np.concatenate(truths), local_share)


def _noting_unreadable(batches: Iterator[Batch], unreadable: list[Rows]) -> Iterator[Batch]:
    """Pass batches on, and append to `unreadable` the rows that cannot be read."""
    for batch in batches:
        unreadable.append(batch.rows[~batch.is_readable])
        yield batch


def _streams(
    vectors: StudentVectors, labels: Vector, k: int, kind: ScoreKind, kept: NDArray[np.bool_]
) -> StreamScores:
    global_vectors, patches = vectors
    known = torch.from_numpy(labels).to(global_vectors.device)
    found = two_stream_scores(known, global_vectors, patches, k=k, kind=kind)
    return StreamScores(
        found.global_scores.cpu().numpy()[kept], found.local_scores.cpu().numpy()[kept]
    )


def _concatenated(parts: list[StreamScores]) -> StreamScores:
    return StreamScores(
        np.concatenate([part.global_scores for part in parts]),
        np.concatenate([part.local_scores for part in parts]),
    )
