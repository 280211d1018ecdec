"""Run-length encoding of tables whose rows mostly count up.

A row continues a run if it is the row before plus `steps`. The ids of a million photos that were
indexed one after another are one run.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]


def encode(table: Table, steps: Sequence[int]) -> Table:
    """Return the runs of a table (n, c): (r, c + 1), each its first row and its length."""
    continues = (np.diff(table, axis=0) == np.asarray(steps)).all(axis=1)  # (n - 1,)
    first = np.flatnonzero(np.concatenate([[True], ~continues])[: len(table)])  # (r,)
    lengths = np.diff(first, append=len(table))
    return np.concatenate([table[first], lengths[:, None]], axis=1)


def decode(runs: Table, steps: Sequence[int], *, rows: int) -> Table:
    """Undo `encode`: (r, c + 1) -> (n, c).

    Args:
        runs: what `encode` returned.
        steps: as for `encode`.
        rows: n.

    Raises:
        ValueError: the runs do not make up a table of so many rows.
    """
    if runs.ndim != 2 or runs.shape[1] != len(steps) + 1:
        raise ValueError("it holds no runs")
    first, lengths = runs[:, :-1], runs[:, -1]
    total = sum(lengths.tolist())  # of Python's numbers, which cannot overflow
    if total != rows or (lengths < 1).any():
        raise ValueError(f"its runs have {total} rows, not {rows}")
    starts = np.cumsum(lengths) - lengths  # (r,) where each run starts in the table
    within = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)  # (n,)
    table: Table = np.repeat(first, lengths, axis=0) + within[:, None] * np.asarray(steps)
    return table
