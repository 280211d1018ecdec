"""The true best photos of many labels: every photo is scored, a block at a time; none is kept."""

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.vectors import VectorIndex
from mkt_search.stored_scores import score_stored
from mkt_search.types import Vector


def truth(
    index: VectorIndex, labels: Vector, k: int, slots: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (Q, k): for each label (Q, D) the slots of the k best, best first.

    Args:
        index: the vectors.
        labels: (Q, D).
        k: photos wanted; all there are, if they are fewer.
        slots: the photos that may be found.
    """
    best = np.empty((0, len(labels)), np.int64)
    scores = np.empty((0, len(labels)), np.float32)
    for part in index.blocks(slots):
        fused = score_stored(index, part, labels).fused
        scores = np.concatenate([scores, fused])
        best = np.concatenate([best, np.broadcast_to(part[:, None], fused.shape)])
        order = np.argsort(-scores, axis=0, kind="stable")[:k]
        best, scores = (np.take_along_axis(a, order, axis=0) for a in (best, scores))
    return best.T
