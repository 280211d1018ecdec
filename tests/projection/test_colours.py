"""Colours of points."""

import numpy as np
import pytest

from mkt_search.projection.colours import by_membership, by_month, by_score
from mkt_search.store.timeline import UNDATED, Timeline
from tests.projection.made import DIM, clustered, snapshot


def test_a_tag_colours_the_photos_that_have_it() -> None:
    found = by_membership(np.array([3, 1, 2]), np.array([1, 9]))
    assert found.values.tolist() == [0, 255, 0] and found.values.dtype == np.uint8


def timeline(dates: dict[int, str | None]) -> Timeline:
    """Return the timeline of photos taken at dates such as "2020-01-01"."""
    moments = [
        UNDATED if date is None else int(np.datetime64(date, "ms").astype(np.int64))
        for date in dates.values()
    ]
    return Timeline.of(1, np.array(list(dates), np.int32), np.array(moments, np.int64))


def test_months_go_from_the_earliest_to_the_latest() -> None:
    dates = {1: "2020-01-31", 2: "2021-12-01", 3: "2020-12-24", 4: None, 8: "1990-01-01"}
    found = by_month(np.array([1, 2, 3, 4, 5]), timeline(dates))
    assert found.values.tolist()[:2] == [1, 255]
    assert 1 < found.values[2] < 255
    assert found.values[3:].tolist() == [0, 0]
    assert (found.lowest, found.highest) == ("2020-01", "2021-12")


@pytest.mark.parametrize("dates", [{}, {7: "2020-01-01"}, {1: None, 2: None}], ids=str)
def test_photos_without_a_date_are_0(dates: dict[int, str | None]) -> None:
    found = by_month(np.array([1, 2]), timeline(dates))
    assert found.values.tolist() == [0, 0] and found.lowest == ""


def test_photos_of_one_month_are_the_earliest() -> None:
    assert by_month(np.array([1]), timeline({1: "2020-01-01"})).values.tolist() == [1]


def test_scores_go_from_the_lowest_to_the_highest() -> None:
    label = np.eye(1, DIM, dtype=np.float32)[0]
    photos = np.eye(3, DIM, dtype=np.float32)
    photos[1, 0] = photos[1, 1] = 0.5
    found = by_score(np.array([3, 2, 1, 9]), snapshot(photos), label)
    assert found.values.tolist() == [0, 128, 255, 0]
    assert (found.lowest, found.highest) == ("0.000", "1.000")


def test_without_photos_there_are_no_scores() -> None:
    label = np.eye(1, DIM, dtype=np.float32)[0]
    assert by_score(np.array([7]), snapshot(clustered(1)), label).values.tolist() == [0]
