"""The nearest of some thousand vectors, found exactly."""

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector


class Neighbours:
    """Vectors (s, c) among which near ones are found; threads may share it."""

    def __init__(self, vectors: Vector) -> None:
        self._index = faiss.IndexFlatL2(vectors.shape[1])
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def nearest(self, queries: Vector, count: int) -> NDArray[np.int64]:
        """Return (n, k): the numbers of the nearest vectors of queries (n, c), the nearest first.

        k is `count`, or s if there are no more.
        """
        found = min(count, self._index.ntotal)
        numbers: NDArray[np.int64]
        _, numbers = self._index.search(np.ascontiguousarray(queries, np.float32), found)
        return numbers
