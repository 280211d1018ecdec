"""`mkt tags`: list tags and the runs that made them, or export tags."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.filters import dates_note, filter_options, take_filters
from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, local_time, path_as_text, printable
from mkt_search.terminal.options import (
    TEXT,
    Command,
    json_option,
    library_option,
)
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.store.records import RunInfo
    from mkt_search.types import Refusal, Tag

TAG_COLUMNS = (
    Column("path"),
    Column("label"),
    Column("score", is_number=True),
    Column("source"),
    Column("run", is_number=True),
    Column("p", is_number=True),
)
REFUSAL_COLUMNS = (Column("path"), Column("label"), Column("removed"))
RUN_COLUMNS = (
    Column("run", is_number=True),
    Column("kind"),
    Column("started"),
    Column("outcome"),
    Column("summary"),
)


@click.command(cls=Command)
@click.option(
    "--label",
    metavar="LABEL",
    type=TEXT,
    help="Only tags with this label.",
)
@click.option(
    "--photo",
    metavar="PHOTO",
    type=click.Path(path_type=Path),
    help="Only tags of this photo.",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "human", "imported"]),
    help="Only tags set by a run, by hand, or imported.",
)
@click.option("--run", metavar="N", type=int, help="Only tags of this run.")
@filter_options
@click.option("--runs", is_flag=True, help="List the runs instead.")
@click.option(
    "--refused",
    is_flag=True,
    help="List the labels that you removed from photos, which no run sets again, instead.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with headings.")
@click.option(
    "--raw",
    is_flag=True,
    help="Leave cells of CSV as they are, even those that a spreadsheet takes for a formula.",
)
@json_option
@click.option(
    "--parquet",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a Parquet file.",
)
@library_option
def tags(
    label: str | None,
    photo: Path | None,
    source: str | None,
    run: int | None,
    runs: bool,
    refused: bool,
    as_csv: bool,
    raw: bool,
    as_json: bool,
    parquet: Path | None,
    directory: Path | None,
    **given: Any,
) -> None:
    """List tags, the runs that made them, or the labels that you removed.

    Each line has the photo, the label, the score, who set the tag, the run, and the probability p
    where a calibrator gave one. A terminal shows a table; a pipe gets the same columns separated by
    tabs, without headings. In CSV, a path or label that a spreadsheet would take for a formula gets
    an apostrophe in front, unless --raw.

    \b
    Examples:
      mkt tags --label dog --csv > dogs.csv
      mkt tags --source human --parquet tags.parquet
      mkt tags --runs
    """
    from mkt_search.tagging import export

    if as_csv + as_json + (parquet is not None) > 1:
        raise click.UsageError("--csv, --json and --parquet exclude each other; give one of them.")
    if runs and refused:
        raise click.UsageError("--runs and --refused exclude each other; give one of them.")
    for flag in ["--runs"] * runs + ["--refused"] * refused:
        if as_csv or parquet is not None:
            raise click.UsageError(f"{flag} prints a table or, with --json, JSON.")
    if raw and not as_csv:
        raise click.UsageError("--raw goes with --csv.")
    if refused and not (source is None and run is None):
        raise click.UsageError("--refused lists no tags; leave out --source and --run.")
    filters = take_filters(given)
    is_narrowed = not filters.is_empty or any(x is not None for x in (label, photo, source, run))
    if runs and is_narrowed:
        raise click.UsageError("--runs lists every run; leave out filters of tags and photos.")
    with open_library(directory, {}) as library:
        if runs:
            _show_runs(library.runs(), as_json=as_json)
            return
        if refused:
            _show_refused(
                library.refusals(label=label, photo=photo, filters=filters), as_json=as_json
            )
            return
        found = library.tags(label=label, photo=photo, source=source, run=run, filters=filters)
        if as_csv:
            export.write_csv(found, sys.stdout, raw=raw)
        elif as_json:
            export.write_json(found, sys.stdout)
        elif parquet is not None:
            say(
                f"wrote {printable(parquet)}: "
                f"{count_noun(export.write_parquet(found, parquet), 'tag')}"
            )
        else:
            _show(found, is_narrowed=is_narrowed)
        photos = library.photos(state="indexed", filters=filters)
        sources = (photo.facts.date_source for photo in photos if photo.facts)
        if note := dates_note(sources, filters, "photo"):
            say(note)


def _show(found: "Iterator[Tag]", *, is_narrowed: bool) -> None:
    count = show_table(TAG_COLUMNS, (_row(tag) for tag in found))
    if count:
        say(count_noun(count, "tag"))
    elif is_narrowed:
        say("No tag meets all conditions; `mkt tags` without options lists every tag.")
    else:
        say("No tags. Make some with `mkt tag --vocabulary FILE`.")


def _row(tag: "Tag") -> tuple[str, ...]:
    score = "" if tag.score is None else f"{tag.score:.4f}"
    run = "" if tag.run is None else str(tag.run)
    p = "" if tag.p is None else f"{tag.p:.2f}"
    return _name(tag), tag.label, score, tag.source, run, p


def _name(word: "Tag | Refusal") -> str:
    """Return the path of a photo as it is listed."""
    return f"{printable(word.path)}{' (missing)' if word.is_missing else ''}"


def _show_refused(found: "Iterator[Refusal]", *, as_json: bool) -> None:
    if as_json:
        show_json(
            [
                {
                    "path": path_as_text(one.path),
                    "label": one.label,
                    "refused_at": one.refused_at.isoformat() + "Z",
                    "is_missing": one.is_missing,
                }
                for one in found
            ]
        )
        return
    rows = ((_name(one), one.label, local_time(one.refused_at)) for one in found)
    count = show_table(REFUSAL_COLUMNS, rows)
    say(count_noun(count, "removed label") if count else "No removed labels.")


def _show_runs(runs: "Sequence[RunInfo]", *, as_json: bool) -> None:
    if as_json:
        from mkt_search.json_forms import runs as runs_as_json

        show_json([runs_as_json.as_data(run) for run in runs])
    elif not show_table(RUN_COLUMNS, (_run_row(run) for run in runs)):
        say("No runs yet.")


def _run_row(run: "RunInfo") -> tuple[str, ...]:
    counts = {name: count for name, count in run.summary.items() if name != "run" and count}
    parts = (f"{name} {count:,}" for name, count in counts.items() if isinstance(count, int))
    return str(run.id), run.kind, local_time(run.started_at), run.outcome, ", ".join(parts)
