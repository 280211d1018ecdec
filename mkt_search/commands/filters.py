"""The filters on photos that `mkt search` and `mkt tags` share."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mkt_search.days import first_moment
from mkt_search.display import count_noun
from mkt_search.errors import QueryError
from mkt_search.terminal.options import COUNT, TEXT, option

if TYPE_CHECKING:
    from mkt_search.types import DateSource, Filters

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Date(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no generic
    """A day, or the first day of a month or year, as `days` reads it."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse a date; anything else is a usage error that shows the formats."""
        try:
            return first_moment(value)
        except QueryError as problem:
            self.fail(str(problem), param, ctx)


_filter = partial(option, section="Filters")
_FILTERS = (
    _filter(
        "--path",
        metavar="GLOB",
        help="Photos whose path matches GLOB; without * and ?, whose path contains it.",
    ),
    _filter(
        "--after",
        type=Date(),
        metavar="DATE",
        help="Photos taken on DATE or later: 2024, 2024-05 or 2024-05-17.",
    ),
    _filter("--before", type=Date(), metavar="DATE", help="Photos taken before DATE."),
    _filter("--tag", type=TEXT, metavar="LABEL", help="Photos with this tag."),
    _filter("--camera", type=TEXT, metavar="TEXT", help="Photos whose camera name contains TEXT."),
    _filter(
        "--min-width",
        type=COUNT,
        metavar="N",
        help="Photos at least N pixels wide.",
    ),
    _filter(
        "--min-height",
        type=COUNT,
        metavar="N",
        help="Photos at least N pixels high.",
    ),
)


def filter_options(command: Decorated) -> Decorated:
    """Add the filters; a photo must pass all that are given."""
    for add in reversed(_FILTERS):
        command = add(command)
    return command


def take_filters(given: dict[str, Any]) -> "Filters":
    """Take the values of `filter_options` out of a command's keywords.

    Raises:
        click.UsageError: no photo can be taken between the dates.
    """
    from mkt_search.types import Filters

    values = {name: given.pop(name) for name in Filters.__dataclass_fields__}
    try:
        return Filters(**values)
    except QueryError as error:
        raise click.UsageError(str(error)) from None


def dates_note(sources: Iterable["DateSource | None"], filters: "Filters", noun: str) -> str:
    """Return how many photos of a filter by date are dated only by their files; "" for none.

    Args:
        sources: where the date of each photo comes from; read only for a filter by date.
        filters: the filters.
        noun: what the photos are called, such as "hit".
    """
    if filters.after is None and filters.before is None:
        return ""
    counts: Counter[str | None] = Counter(sources)
    words = {"name": "its name", "mtime": "its modification time"}
    parts = [f"{counts[source]:,} by {by}" for source, by in words.items() if counts[source]]
    if not parts:
        return ""
    of = f"{counts['name'] + counts['mtime']:,} of {count_noun(counts.total(), noun)}"
    return f"Dated only by the file: {of} ({', '.join(parts)})."
