"""The true best photos of many queries, from scoring every photo block by block."""

import numpy as np

from mkt_search.evaluation.score_stored import score_stored
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

PHOTOS_PER_BLOCK = 256


def truth(
    snapshot: Snapshot,
    labels: Vector,
    k: int,
    content_ids: ContentIds,
    weights: Vector | None = None,
) -> ContentIds:
    """Return (Q, k): for each query the content ids of the k best, best first.

    Args:
        snapshot: the stored vectors.
        labels: (L, D).
        k: photos wanted; all of them if there are fewer.
        content_ids: the photos that may be found.
        weights: (L, Q), of the labels in each query; None searches for each label by itself.
    """
    weights = np.eye(len(labels), dtype=np.float32) if weights is None else weights
    best = np.empty((0, weights.shape[1]), np.int64)
    scores = np.empty((0, weights.shape[1]), np.float32)
    for first in range(0, len(content_ids), PHOTOS_PER_BLOCK):
        part = content_ids[first : first + PHOTOS_PER_BLOCK]
        fused = score_stored(snapshot, part, labels).fused @ weights  # (n, Q)
        scores = np.concatenate([scores, fused])
        best = np.concatenate([best, np.broadcast_to(part[:, None], fused.shape)])
        order = np.argsort(-scores, axis=0, kind="stable")[:k]
        best = np.take_along_axis(best, order, axis=0)
        scores = np.take_along_axis(scores, order, axis=0)
    return best.T
