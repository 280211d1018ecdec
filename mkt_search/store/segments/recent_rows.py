"""Which rows were read lately, so that only the others are read ahead.

Scattered rows are announced to the system before they are read (`Segment.ahead`), because a disk
serves many requests at once several times as fast as one after another: a search that scores 2,000
of 100,000 photos from a cold disk takes 100 ms with announcements and 160 ms without. An
announcement costs about two microseconds even if the row is in memory, so that all of them would
cost a warm search 4 of its 16 ms. What was read within the last gigabyte is therefore taken to be
in memory. If the system has evicted it since, it is read without haste, but read.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]

RECENT_BYTES = 1 << 30


class RecentRows:
    """Marks rows as they are read, and forgets all of them after so many bytes.

    Threads may share it: at worst a row is announced twice.
    """

    def __init__(self, rows: int, bytes_per_row: int, *, recent_bytes: int = RECENT_BYTES) -> None:
        self._is_recent = np.zeros(rows, np.bool_)
        self._left = self._capacity = recent_bytes // max(1, bytes_per_row)  # rows

    def add(self, rows: Rows) -> Rows:
        """Mark rows (n,) as read; return those that were not read lately."""
        new = rows[~self._is_recent[rows]]
        if len(new):
            if len(new) > self._left:
                self.clear()
            marked = new[: self._left]
            self._is_recent[marked] = True
            self._left -= len(marked)
        return new

    def clear(self) -> None:
        """Take no row to be in memory."""
        self._is_recent = np.zeros_like(self._is_recent)
        self._left = self._capacity
