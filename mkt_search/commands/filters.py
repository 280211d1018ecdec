"""The conditions on photos that `mkt search` and `mkt tags` share."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mkt_search.terminal.options import TEXT

if TYPE_CHECKING:
    from mkt_search.types import Filters

Command = TypeVar("Command", bound=Callable[..., Any])

DATES = ("%Y", "%Y-%m", "%Y-%m-%d")


class Date(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no generic
    """A day, or the first of a month or year, written as one of `DATES`."""

    name = "date"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; what is no date is refused with the ways to write one."""
        for form in DATES:
            with suppress(ValueError):
                return datetime.strptime(value, form)
        self.fail(f'"{value}" is no date; write 2024, 2024-05 or 2024-05-17.', param, ctx)


def filter_options(command: Command) -> Command:
    """Add the conditions on photos; all that are given must hold."""
    date = Date()
    for option in reversed(
        (
            click.option(
                "--path",
                metavar="GLOB",
                show_default="any",
                help="Only photos whose path matches; * and ? as in a shell, else any part of it.",
            ),
            click.option(
                "--after",
                type=date,
                metavar="DATE",
                show_default="any",
                help="Only photos taken on or after it: 2024, 2024-05 or 2024-05-17.",
            ),
            click.option(
                "--before",
                type=date,
                metavar="DATE",
                show_default="any",
                help="Only photos taken before it begins.",
            ),
            click.option(
                "--tag",
                type=TEXT,
                metavar="LABEL",
                show_default="any",
                help="Only photos with this tag.",
            ),
            click.option(
                "--camera",
                type=TEXT,
                metavar="TEXT",
                show_default="any",
                help="Only photos whose camera's name contains it.",
            ),
            click.option(
                "--min-width",
                type=click.IntRange(min=1),
                metavar="N",
                show_default="any",
                help="Only photos at least this wide, in pixels.",
            ),
            click.option(
                "--min-height",
                type=click.IntRange(min=1),
                metavar="N",
                show_default="any",
                help="Only photos at least this high, in pixels.",
            ),
        )
    ):
        command = option(command)
    return command


def take_filters(given: dict[str, Any]) -> "Filters":
    """Take the values of `filter_options` out of a command's keywords."""
    from mkt_search.types import Filters

    return Filters(**{name: given.pop(name) for name in Filters.__dataclass_fields__})
