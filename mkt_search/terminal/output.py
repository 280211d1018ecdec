"""Print results: a table for people, tab-separated columns for pipes, JSON for programs."""

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import click

from mkt_search.display import printable


def say(sentence: str) -> None:
    """Print a sentence on stderr; stdout carries only data."""
    if sys.stderr is not None:  # as `2>&-` leaves it
        print(sentence, file=sys.stderr)  # click.echo would bypass a progress bar


class StderrHandler(logging.Handler):
    """Prints log messages on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        say(self.format(record))


@dataclass(frozen=True)
class Column:
    """A column; numbers are aligned right and never wrapped."""

    name: str
    is_number: bool = False


def show_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    file: IO[str] | None = None,
    keeps_headings: bool = False,
) -> int:
    """Print rows: aligned under headings on a terminal, else tab-separated without them.

    Args:
        columns: the headings.
        rows: a cell for each column.
        file: stdout by default.
        keeps_headings: print a line of headings in a pipe too, for tables whose columns vary.

    Returns:
        The number of rows.
    """
    file = file or sys.stdout
    if file.isatty():
        rows = list(rows)
        if rows:
            _show_aligned(columns, rows, file)
        return len(rows)
    if keeps_headings:
        click.echo("\t".join(column.name for column in columns), file=file)
    count = 0
    for row in rows:
        click.echo("\t".join(printable(cell) for cell in row), file=file)
        count += 1
    return count


def _show_aligned(columns: Sequence[Column], rows: Sequence[Sequence[str]], file: IO[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        side: Literal["right", "left"] = "right" if column.is_number else "left"
        table.add_column(column.name, justify=side, no_wrap=column.is_number, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=file, highlight=False).print(table)


def show_json(value: Any) -> None:
    """Print one JSON document, indented by two spaces, in UTF-8."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
