"""Rows that count up are one run, and every table comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.store.ann.run_lengths import decode, encode


def test_rows_that_continue_are_one_run() -> None:
    table = np.array([[5, 0, 10], [5, 1, 11], [5, 2, 12], [6, 3, 13], [6, 4, 15], [6, 5, 16]])
    assert encode(table, (0, 1, 1)).tolist() == [[5, 0, 10, 3], [6, 3, 13, 1], [6, 4, 15, 2]]
    assert encode(np.arange(7, 1_000_007)[:, None], (1,)).tolist() == [[7, 1_000_000]]


@given(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([(1,), (0, 1, 1), (2, -1)]))
@settings(max_examples=80, deadline=None)
def test_every_table_comes_back(seed: int, n: int, steps: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    continues = rng.random((n, 1)) < 0.7
    rows = np.where(continues, np.asarray(steps), rng.integers(-9, 9, (n, len(steps)))).cumsum(
        axis=0
    )
    runs = encode(rows, steps)
    np.testing.assert_array_equal(decode(runs, steps, rows=n), rows)
    assert len(runs) <= n and (runs[:, -1] > 0).all()


@pytest.mark.parametrize(
    "runs", [[[5, 2**62]], [[5, 2**62], [6, 2**62]], [[5, -1], [6, 4]], [[5, 0], [6, 3]], [[5]], 7]
)
def test_runs_of_another_length_are_refused_before_anything_is_made(runs: object) -> None:
    with pytest.raises(ValueError):
        decode(np.array(runs, np.int64), (1,), rows=3)
