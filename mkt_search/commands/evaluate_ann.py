"""`mkt evaluate ann`: recall and speed of a library's candidate index."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun
from mkt_search.evaluation.tables import NO_VALUE, as_cell
from mkt_search.spelling import clean_label, distinct_labels
from mkt_search.terminal.options import (
    TEXT,
    Command,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import Column, say, show_json, show_table
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.evaluation.ann_recall import RecallReport, RecallRow, SearchStats

RECALL_COLUMNS = (
    Column("filter", is_number=True),
    Column("photos", is_number=True),
    Column("k", is_number=True),
    Column("recall", is_number=True),
    Column("way"),
    Column("scored", is_number=True),
    Column("p50 ms", is_number=True),
    Column("p95", is_number=True),
    Column("exact ms", is_number=True),
    Column("p95", is_number=True),
)


@click.command(cls=Command)
@click.argument("labels", nargs=-1, metavar="[LABEL]...", type=TEXT)
@click.option(
    "--labels",
    "labels_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Labels to search for: a file with one per line, or the name of a vocabulary.",
)
@click.option(
    "--queries",
    metavar="N",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Queries made at least, if fewer labels are given.",
)
@click.option(
    "-k",
    "depths",
    metavar="N",
    type=click.IntRange(min=1),
    multiple=True,
    default=(10, 100),
    show_default=True,
    help="Best photos compared; may be repeated.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Draws the filters, and labels beyond those given.",
)
@setting_option("search.recall")
@setting_option("model.checkpoint", advanced=True)
@json_option
@library_option
def ann(
    labels: tuple[str, ...],
    labels_file: Path | None,
    queries: int,
    depths: tuple[int, ...],
    seed: int,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Measure the recall and speed of the library's candidate index.

    Every LABEL is searched twice, through the candidate index and exactly, for the best of all
    photos and of those that random filters leave; recall is the share of the exact best that was
    found. If fewer than --queries labels are given, labels searched for earlier are used too, then
    mixtures of stored vectors. Nothing is written except the vectors of new labels.

    \b
    Examples:
      mkt evaluate ann
      mkt evaluate ann dog beach "red car" -k 20
    """
    asked = _labels(labels, labels_file)
    with open_library(directory, take_settings(given)) as library:
        with show_progress("reading labels and vectors") as progress:
            report = library.evaluate_ann(
                asked, queries=queries, depths=depths, seed=seed, progress=progress
            )
    say(_summary(report))
    for note in report.notes:
        say(note)
    if as_json:
        show_json(report.as_dict())
    else:
        show_table(RECALL_COLUMNS, map(_row, report.rows))


def _labels(labels: tuple[str, ...], file: Path | None) -> list[str]:
    from mkt_search.models.vocabulary import read_vocabulary

    if not all(map(clean_label, labels)):
        raise click.UsageError("A LABEL is empty; write what to look for.")
    return distinct_labels([*labels, *(read_vocabulary(file) if file else ())])


def _summary(report: "RecallReport") -> str:
    """Return how many queries ran, on how many photos and threads."""
    asked = report.queries
    kinds = f"{count_noun(asked.given, 'label')} given, {asked.remembered:,} remembered, "
    kinds += count_noun(asked.mixed, "mixture") + " of stored vectors"
    whole = [row for row in report.rows if row.share == 1]
    busy = f"{_busy(row.exact for row in whole)} exactly"
    if whole[0].approximate:
        busy += f", {_busy(row.approximate for row in whole if row.approximate)} approximately"
    index = f"{report.indexed:,} of them in the candidate index, for a recall of {report.target:g}"
    threads = count_noun(report.scan_threads, "thread")
    return (
        f"{count_noun(len(asked), 'query', 'queries')} ({kinds}) on "
        f"{count_noun(report.photos, 'photo')}, "
        f"{index}; one query after another, warm. The exact scan may use {threads}; busy on "
        f"average: {busy}."
    )


def _busy(ways: "Iterable[SearchStats]") -> str:
    return f"{fmean(way.busy for way in ways):.1f}"


def _row(row: "RecallRow") -> tuple[str, ...]:
    way = row.approximate or row.exact
    is_approximate = way.path == "candidates"
    return (
        "none" if row.share == 1 else f"{100 * row.share:g} %",
        f"{row.photos:,}",
        f"{row.k:,}",
        as_cell(row.recall),
        way.path,
        f"{way.candidates + way.newer:,.0f}" if is_approximate else NO_VALUE,
        *_times(row.approximate),
        *_times(row.exact),
    )


def _times(way: "SearchStats | None") -> tuple[str, str]:
    return (NO_VALUE, NO_VALUE) if way is None else (f"{way.p50:.1f}", f"{way.p95:.1f}")
