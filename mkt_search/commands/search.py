"""`mkt search`: find photos by labels, by other photos, or both."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.filters import dates_note, filter_options, take_filters
from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, printable
from mkt_search.terminal.options import (
    TEXT,
    Command,
    advanced_option,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.search.search import Explanation
    from mkt_search.types import Hit

HIT_COLUMNS = (
    Column("rank", is_number=True),
    Column("score", is_number=True),
    Column("global", is_number=True),
    Column("local", is_number=True),
    Column("path"),
)
P_COLUMN = Column("p", is_number=True)  # after the rank, where there is a calibrator


class SearchCommand(Command):
    """Accepts a QUERY such as "- person", which click would take for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move queries that begin with "- " behind a "--"."""
        queries = [text for text in args if text.startswith("- ")]
        others = [text for text in args if not text.startswith("- ")]
        if queries:
            args = [*others, *([] if "--" in others else ["--"]), *queries]
        return super().parse_args(ctx, args)


@click.command(cls=SearchCommand)
@click.argument("query", nargs=-1, type=TEXT)
@click.option(
    "--not",
    "unwanted",
    metavar="LABEL",
    type=TEXT,
    multiple=True,
    help="A label the photos should not show; may be repeated.",
)
@click.option(
    "--like",
    metavar="PHOTO",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Find photos that look like this one; may be repeated.",
)
@click.option(
    "--precision",
    metavar="X",
    type=float,
    help="Show as many photos as are expected to be right to this share, say 0.9.",
)
@click.option(
    "--min-p", metavar="X", type=float, help="Show the photos with this probability or more."
)
@setting_option("search.k")
@setting_option("search.recall")
@advanced_option("--exact", is_flag=True, help="Score every photo; ignore the candidate index.")
@advanced_option(
    "--explain",
    is_flag=True,
    help="Print the plan of the search and the time of each step.",
)
@filter_options
@json_option
@click.option("--paths", is_flag=True, help="Print only paths, one a line.")
@click.option(
    "-0",
    "--null",
    is_flag=True,
    help="End each path with NUL instead of a new line (for xargs -0).",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a contact sheet to look at, all in one file.",
)
@setting_option("search.thumbnail")
@setting_option("model.checkpoint", advanced=True)
@setting_option("model.device")
@library_option
def search(
    query: tuple[str, ...],
    unwanted: tuple[str, ...],
    like: tuple[Path, ...],
    as_json: bool,
    paths: bool,
    null: bool,
    html: Path | None,
    precision: float | None,
    min_p: float | None,
    exact: bool,
    explain: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Find the photos that show QUERY, best first.

    QUERY is a label or several: "dog + beach", "dog - person", "2*dog + 0.5*beach". `+` and `-`
    separate labels only when surrounded by spaces, so "t-shirt" is one label; '"rock + roll"' in
    quotation marks is one, too. Several QUERYs are added up.

    A terminal shows the hits as a table; a pipe gets the same columns separated by tabs, without
    headings.

    \b
    Examples:
      mkt search dog
      mkt search "dog + beach" --not person --after 2024 -k 50
      mkt search --like holiday.jpg --html hits.html
      mkt search sunset --paths -0 | xargs -0 cp -t best/
    """
    from mkt_search.json_forms import hits as hits_as_json
    from mkt_search.search import query as query_language
    from mkt_search.search.search import Explanation as Explained

    _refuse_two_outputs(as_json, paths or null)
    if not (query or like):
        raise click.UsageError('Say what to look for: mkt search "dog + beach", or --like PHOTO.')
    filters, flags = take_filters(given), take_settings(given)
    asks_for_p = precision is not None or min_p is not None
    terms = query_language.terms(query, unwanted=unwanted, like=like)
    for note in filter(None, map(query_language.note, query)):
        say(note)
    with open_library(directory, flags) as library:
        settings = library.config.search
        explanation = Explained()
        hits = library.search(
            terms,
            k=flags["search.k"] if asks_for_p else settings.k,
            precision=precision,
            min_p=min_p,
            filters=filters,
            exact=exact,
            explanation=explanation,
        )
        asked = query_language.describe(terms)
        nearest: list[str] = []
        if explanation.match == "none" and terms[0].label is not None:
            nearest = library.nearest_shown(terms[0].label, filters=filters)
        if html is not None:
            _write_sheet(html, hits, asked, settings.thumbnail)
        if as_json:
            shown = [hits_as_json.as_data(hit) for hit in hits]
            show_json(_with_match(hits, explanation, nearest) if asks_for_p else shown)
        elif paths or null:
            _show_paths(hits, b"\0" if null else b"\n")
        elif html is None:
            rank_column, *others = HIT_COLUMNS
            p_column = [P_COLUMN] if any(hit.p is not None for hit in hits) else []
            columns = [rank_column, *p_column, *others]
            show_table(columns, (_row(rank, hit) for rank, hit in enumerate(hits, start=1)))
        if note := dates_note((hit.date_source for hit in hits), filters, "hit"):
            say(note)
        if explain:
            say(explained(explanation))
        if explanation.no_p:
            say(f"The hits have no probability. {explanation.no_p}")
        if asks_for_p and hits:
            say(_expected(hits))
        if sentence := _match_sentence(explanation, asked, nearest):
            say(sentence)
        elif asks_for_p and not hits and len(library):
            say(f"No photo is probable enough to be a hit for {asked}.")
        elif not hits:
            say(_nothing_found(asked, searched=len(library), is_filtered=not filters.is_empty))


def explained(explanation: "Explanation") -> str:
    """Return the plan of a search, what came of it and the time of each step, on two lines."""
    chosen = explanation.plan
    assert chosen is not None
    text = f"plan: {chosen.path}, because {chosen.why}; "
    text += f"{count_noun(chosen.searched, 'photo')} searched"
    if chosen.path == "candidates":
        text += f", {explanation.candidates:,} candidates and "
        text += f"{count_noun(explanation.newer, 'newer photo')} scored, "
        text += f"expected recall {chosen.recall:.3g}"
    if explanation.judged:
        text += f", {count_noun(explanation.judged, 'judgement')} of hits count"
    steps = (f"{name} {ms:.1f} ms" for name, ms in explanation.milliseconds.items())
    return f"{text}\ntimes: {', '.join(steps)}"


def _refuse_two_outputs(as_json: bool, paths: bool) -> None:
    if as_json and paths:
        raise click.UsageError("--json and --paths exclude each other; give one of them.")


def _row(rank: int, hit: "Hit") -> tuple[str, ...]:
    parts = (hit.score, hit.global_part, hit.local_part)
    p = () if hit.p is None else (f"{hit.p:.2f}",)
    return (f"{rank:,}", *p, *(f"{part:.4f}" for part in parts), printable(hit.path))


def _with_match(
    hits: "Sequence[Hit]", explanation: "Explanation", nearest: "Sequence[str]"
) -> dict[str, Any]:
    """Return hits with what is expected of them, as JSON values."""
    from mkt_search.json_forms import hits as hits_as_json

    return {
        "match": explanation.match,
        "nearest": list(nearest),
        "expected": hits_as_json.expected(hits),
        "hits": [hits_as_json.as_data(hit) for hit in hits],
    }


def _expected(hits: "Sequence[Hit]") -> str:
    from mkt_search.json_forms import hits as hits_as_json

    counts = hits_as_json.expected(hits)
    photos = count_noun(counts["photos"], "photo")
    return f"{photos}, {counts['wrong']:.3g} of them expected to be wrong."


def _match_sentence(explanation: "Explanation", asked: str, nearest: "Sequence[str]") -> str:
    if explanation.match == "none":
        text = f"Nothing here looks clearly like {asked}; --min-p 0.1 shows what comes nearest."
        if nearest:
            text += f" The nearest labels that are here: {printable(', '.join(nearest))}."
        return text
    if explanation.match == "unknown":
        return (
            f"Cannot tell whether anything here shows {asked}: on labels whose truth is known, the "
            "scores of this model do not tell it either."
        )
    return ""


def _show_paths(hits: "Sequence[Hit]", end: bytes) -> None:
    for hit in hits:
        click.echo(os.fsencode(hit.path) + end, nl=False)


def _write_sheet(file: Path, hits: "Sequence[Hit]", asked: str, side: int) -> None:
    from mkt_search.pages import sheet

    sheet.write(file, hits, query=asked, side=side, made_at=datetime.now())
    say(f"wrote {printable(file)}: {count_noun(len(hits), 'photo')}")


def _nothing_found(asked: str, *, searched: int, is_filtered: bool) -> str:
    if not searched:
        return "The library holds no photos yet. Run `mkt index FOLDER` first."
    if is_filtered:
        return (
            f"No photo meets the filters (of {count_noun(searched, 'photo')}); relax one of them."
        )
    return f"Nothing found for {asked}."
