"""Tables whose rows mostly count up, written as stretches: what was indexed together lies together.

A row follows on another when it is that row plus `steps`; a stretch is a row and how many follow on
from it, itself counted. The ids of a million photos that came one after another are one stretch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]


def fold(table: Table, steps: Sequence[int]) -> Table:
    """Return the stretches of a table (n, c): (s, c + 1), each its first row and its length."""
    follows = (np.diff(table, axis=0) == np.asarray(steps)).all(axis=1)
    first = np.flatnonzero(np.concatenate([[True], ~follows])[: len(table)])
    lengths = np.diff(first, append=len(table))
    return np.concatenate([table[first], lengths[:, None]], axis=1)


def unfold(stretches: Table, steps: Sequence[int]) -> Table:
    """Undo `fold`: (s, c + 1) -> (n, c)."""
    rows, lengths = stretches[:, :-1], stretches[:, -1]
    begins = np.cumsum(lengths) - lengths
    within = np.arange(int(lengths.sum())) - np.repeat(begins, lengths)
    table: Table = np.repeat(rows, lengths, axis=0) + within[:, None] * np.asarray(steps)
    return table
