"""`mkt repair`: encode photos again whose stored vectors were lost."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.index import stopped
from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, duration
from mkt_search.models.download_policy import downloads
from mkt_search.process import keep_freed_memory
from mkt_search.terminal.options import (
    Command,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.types import RepairSummary


@click.command(cls=Command)
@setting_option("model.checkpoint")
@setting_option("model.device")
@setting_option("index.batch_size")
@setting_option("index.workers")
@setting_option("index.max_pixels")
@json_option
@library_option
@click.pass_context
def repair(ctx: click.Context, /, as_json: bool, directory: Path | None, **given: Any) -> None:
    """Encode again what `mkt verify` found damaged.

    Vector files that are missing or damaged are removed, and their photos are encoded again.
    Photos and tags stay as they are.
    """
    keep_freed_memory()
    with (
        open_library(directory, take_settings(given)) as library,
        show_progress("checking the library", on_stop=stopped) as progress,
        downloads(progress=progress),
    ):
        summary = library.repair(progress=progress)
    if as_json:
        show_json(asdict(summary))
    for line in sentences(summary):
        say(line)
    ctx.exit(1 if summary.unsolved else 0)


def sentences(summary: "RepairSummary") -> Iterator[str]:
    """Yield the lines that say what a repair did."""
    if summary.rows:
        yield "damaged rows of the database were removed, and made again where they are needed."
    if summary.candidate_index:
        yield "the candidate index was damaged and has been rebuilt."
    done = (
        *(summary.segments, summary.encoded, summary.failed, summary.missing),
        summary.away,
    )
    if not any(done):
        if not summary.candidate_index and not summary.rows and not summary.unsolved:
            yield "nothing to repair: every photo has its vectors."
    else:
        yield (
            f"encoded {count_noun(summary.encoded, 'photo')} again in "
            f"{duration(summary.seconds)}; "
            f"removed {count_noun(summary.segments, 'damaged segment')}."
        )
    if summary.failed:
        yield f"{count_noun(summary.failed, 'photo')} can no longer be read: `mkt status --failed`."
    if summary.missing:
        photos = count_noun(summary.missing, "photo")
        yield f"marked missing: {photos}; `mkt prune` removes them from the library."
    if summary.away:
        yield (
            f"{count_noun(summary.away, 'photo')} are in folders that do not exist now; run "
            "`mkt repair` again when their disk is back."
        )
    if summary.unsolved:
        problems = count_noun(summary.unsolved, "problem")
        yield f"{problems} left that `mkt repair` cannot solve: `mkt verify` names the way out."
