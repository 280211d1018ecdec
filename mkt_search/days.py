"""Dates as people write them in filters: a year, a month or a day."""

from contextlib import suppress
from datetime import datetime

from mkt_search.errors import QueryError

FORMATS = ("%Y", "%Y-%m", "%Y-%m-%d")


def first_moment(text: str) -> datetime:
    """Return when a year, month or day begins. Raises QueryError for any other text."""
    for form in FORMATS:
        with suppress(ValueError):
            return datetime.strptime(text, form)
    raise QueryError(f'"{text}" is not a date; write 2024, 2024-05 or 2024-05-17.')
