"""The order of photos by time, their months, and the timelines that are kept."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.errors import QueryError
from mkt_search.store.timeline import KEPT, UNDATED, Month, Timeline, Timelines
from mkt_search.types import Filters

DAY = 86_400_000


def of(*moments: int) -> Timeline:
    return Timeline.of(7, np.arange(1, len(moments) + 1, dtype=np.int32), np.array(moments))


def test_the_newest_photo_is_first_and_those_without_a_date_are_last() -> None:
    found = of(UNDATED, 40 * DAY, 3, 2, UNDATED, 41 * DAY, 3)
    assert found.ids.tolist() == [6, 2, 7, 3, 4, 5, 1]
    assert found.months == (Month("1970-02", 0, 2), Month("1970-01", 2, 3), Month(None, 5, 2))


def test_a_library_without_photos_has_no_months() -> None:
    assert (len(of()), of().months) == (0, ())


@settings(max_examples=50)
@given(st.lists(st.one_of(st.just(UNDATED), st.integers(-(10**13), 10**13)), max_size=30))
def test_months_are_consecutive_and_hold_every_photo_once(moments: list[int]) -> None:
    found = of(*moments)
    assert sorted(found.ids.tolist()) == list(range(1, len(moments) + 1))
    end = 0
    for month in found.months:
        assert month.first == end and month.count > 0
        end += month.count
        for id_ in found.ids[month.first : end].tolist():
            moment = moments[id_ - 1]
            month_of = str(np.datetime64(moment, "ms").astype("datetime64[M]"))
            assert month.month == (None if moment == UNDATED else month_of)
    assert end == len(moments)


@pytest.fixture
def revisions() -> list[int]:
    return [1]


@pytest.fixture
def made() -> list[Filters]:
    return []


@pytest.fixture
def timelines(revisions: list[int], made: list[Filters]) -> Iterator[Timelines]:
    def read(filters: Filters) -> Timeline:
        made.append(filters)
        return Timeline(revisions[-1], np.array([1], np.int32), ())

    yield Timelines(read, lambda: revisions[-1])


def test_a_timeline_is_read_once_for_each_revision_and_filter(
    timelines: Timelines, revisions: list[int], made: list[Filters]
) -> None:
    assert timelines.get() is timelines.get()
    assert timelines.get(Filters(path="a")) is not timelines.get()
    assert len(made) == 2
    revisions.append(2)
    assert timelines.get().revision == 2
    assert timelines.get(revision=1).revision == 1
    assert len(made) == 3


def test_tags_change_without_a_revision_so_they_are_looked_up_each_time(
    timelines: Timelines, made: list[Filters]
) -> None:
    for _ in range(2):
        timelines.get(Filters(tag="dog"))
    assert len(made) == 2
    timelines.get(Filters(tag="dog"), revision=1)
    assert len(made) == 2


def test_a_revision_that_is_no_longer_kept_is_refused(
    timelines: Timelines, revisions: list[int]
) -> None:
    for number in range(1, KEPT + 2):
        revisions.append(number)
        timelines.get()
    with pytest.raises(QueryError, match="has changed since revision 1; ask for it again"):
        timelines.get(revision=1)
    assert timelines.get(revision=2).revision == 2
