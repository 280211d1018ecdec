"""Rows that were read lately are not announced again."""

import numpy as np

from mkt_search.store.segments.recent_rows import RecentRows


def test_each_row_is_new_once() -> None:
    recent = RecentRows(10, 100)
    assert recent.add(np.array([3, 1, 7])).tolist() == [3, 1, 7]
    assert recent.add(np.array([1, 2, 7])).tolist() == [2]
    recent.clear()
    assert recent.add(np.array([1, 2])).tolist() == [1, 2]


def test_rows_are_forgotten_after_so_many_bytes() -> None:
    recent = RecentRows(10, 100, recent_bytes=500)
    assert recent.add(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert recent.add(np.arange(5)).tolist() == []
    assert recent.add(np.array([0, 9])).tolist() == [9]  # the sixth: all others are forgotten
    assert recent.add(np.array([0, 9])).tolist() == [0]


def test_of_more_rows_than_can_be_remembered_the_first_are() -> None:
    recent = RecentRows(10, 100, recent_bytes=300)
    assert recent.add(np.arange(10)).tolist() == list(range(10))
    assert recent.add(np.arange(4)).tolist() == [3]


def test_rows_without_bytes_are_new_once() -> None:
    recent = RecentRows(3, 0)
    assert recent.add(np.array([0, 2])).tolist() == [0, 2]
    assert recent.add(np.array([0, 2])).tolist() == []
