"""Sort many short lists at once: a network of minima and maxima over planes of numbers.

numpy sorts lists one after the other; of lists of 16 numbers there may be a million. A sorting
network (K. E. Batcher, Sorting networks and their applications, 1968) compares the same two places
of all of them in one step, which a processor does for many lists at a time.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache
def network(length: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of places that, compared in turn, sort any list: odd-even merging."""
    pairs = []
    size = 1 << max(length - 1, 0).bit_length()
    for merged in (1 << i for i in range(size.bit_length() - 1)):
        for apart in (merged >> i for i in range(merged.bit_length())):
            for start in range(apart % merged, size - apart, 2 * apart):
                for low in range(start, min(start + apart, size - apart)):
                    if low // (2 * merged) == (low + apart) // (2 * merged):
                        pairs.append((low, low + apart))
    return tuple((low, high) for low, high in pairs if high < length)  # the rest stays in place


def sort_planes(planes: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Sort along the first axis, largest first; takes (m, ...) and reuses its memory.

    Returns:
        m planes in their order.
    """
    sorted_, spare = list(planes), np.empty_like(planes[0])
    for high, low in network(len(planes)):
        np.minimum(sorted_[high], sorted_[low], out=spare)
        np.maximum(sorted_[high], sorted_[low], out=sorted_[high])
        sorted_[low], spare = spare, sorted_[low]
    return sorted_
