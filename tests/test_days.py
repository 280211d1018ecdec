"""Dates of filters: a year, a month or a day."""

from datetime import datetime

import pytest

from mkt_search.days import first_moment
from mkt_search.errors import QueryError


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2024", datetime(2024, 1, 1)),
        ("2024-05", datetime(2024, 5, 1)),
        ("2024-05-17", datetime(2024, 5, 17)),
    ],
)
def test_a_date_is_its_first_moment(text: str, moment: datetime) -> None:
    assert first_moment(text) == moment


@pytest.mark.parametrize("text", ["", "May", "2024-13", "2024-02-30", "17.5.2024"])
def test_other_text_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(QueryError, match="is not a date; write 2024, 2024-05 or 2024-05-17"):
        first_moment(text)
