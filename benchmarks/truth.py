"""The true best photos of many queries: every photo is scored, a block at a time; none is kept."""

import numpy as np
from numpy.typing import NDArray

from mkt_search.evaluation.score_stored import score_stored
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector


def truth(
    index: LocalSnapshot,
    labels: Vector,
    k: int,
    slots: NDArray[np.int64],
    weights: Vector | None = None,
) -> NDArray[np.int64]:
    """Return (Q, k): for each query the slots of the k best, best first.

    Args:
        index: the vectors.
        labels: (L, D).
        k: photos wanted; all there are, if they are fewer.
        slots: the photos that may be found.
        weights: (L, Q), of the labels in each query; None asks for each label by itself.
    """
    weights = np.eye(len(labels), dtype=np.float32) if weights is None else weights
    best = np.empty((0, weights.shape[1]), np.int64)
    scores = np.empty((0, weights.shape[1]), np.float32)
    for part in index.blocks(slots):
        fused = score_stored(index, part, labels).fused @ weights
        scores = np.concatenate([scores, fused])
        best = np.concatenate([best, np.broadcast_to(part[:, None], fused.shape)])
        order = np.argsort(-scores, axis=0, kind="stable")[:k]
        best, scores = (np.take_along_axis(a, order, axis=0) for a in (best, scores))
    return best.T
