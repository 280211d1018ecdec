"""The conditions on photos that `mkt search` and `mkt tags` share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mkt_search.types import Filters

Command = TypeVar("Command", bound=Callable[..., Any])

DATES = ("%Y", "%Y-%m", "%Y-%m-%d")


def filter_options(command: Command) -> Command:
    """Add the conditions on photos; all that are given must hold."""
    date = click.DateTime(formats=DATES)
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
                metavar="LABEL",
                show_default="any",
                help="Only photos with this tag.",
            ),
            click.option(
                "--camera",
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
