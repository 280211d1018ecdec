"""Print results: a table for people, tab-separated columns for pipes, JSON for programs."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Literal

import click

from mkt_search.display import printable
from mkt_search.progress import Progress, ProgressCallback


def say(sentence: str) -> None:
    """Tell the person something; stdout stays data."""
    click.echo(sentence, err=True)


@dataclass(frozen=True)
class Column:
    """A column: numbers stand right, a path may break over lines."""

    name: str
    is_number: bool = False


def show_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, file: IO[str] | None = None
) -> int:
    """Print rows: aligned under headings on a terminal, else tab-separated without them.

    Returns:
        How many there were.
    """
    file = file or sys.stdout
    if file.isatty():
        rows = list(rows)
        if rows:
            _show_aligned(columns, rows, file)
        return len(rows)
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


@contextmanager
def bar(step: str) -> Iterator[ProgressCallback]:
    """Show on a terminal what is going on, how much is done, of how much, and how fast.

    `step` is shown first; elsewhere than on a terminal nothing is.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as RichProgress,
    )

    with RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False, soft_wrap=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(step, total=None, rate="")
        now, began, last = "", time.monotonic(), time.monotonic()

        def show(event: Progress) -> None:
            name, done, total = event.step, event.done, event.total
            nonlocal now, began, last
            if name != now:  # it began when there was last something to tell
                now, began = name, last
                progress.reset(task)  # else it would keep the time of the one before
            last = time.monotonic()
            rate = f"{done / max(last - began, 1e-6):,.0f}/s" if done else ""
            progress.update(task, description=name, completed=done, total=total, rate=rate)

        yield show


def show_json(value: Any) -> None:
    """Print one JSON document, two spaces deep, in plain UTF-8."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
