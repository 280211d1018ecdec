"""`mkt index`: bring photos into the library."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, duration, printable
from mkt_search.process import keep_freed_memory
from mkt_search.progress import INDEXING, Progress
from mkt_search.terminal.options import (
    TEXT,
    Command,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.types import Summary

REASONS_SHOWN = 5
FLAGS = {  # by the beginning of a reason
    "hidden": "--hidden",
    "link out": "--follow-links",
    "failed before": "--retry",
}


@click.command(cls=Command, short_help="Bring photos into the library, or see what has changed.")
@click.argument("folders", nargs=-1, metavar="[DIR]...", type=click.Path(path_type=Path))
@setting_option("model.checkpoint")
@setting_option("model.device")
@setting_option("model.dtype")
@setting_option("model.patch_vectors")
@setting_option("index.batch_size")
@setting_option("index.workers")
@click.option(
    "--exclude",
    metavar="GLOB",
    multiple=True,
    type=TEXT,
    help="Leave out files and folders whose names match, as in .gitignore; may be repeated.",
)
@setting_option("index.hidden")
@setting_option("index.follow_links")
@setting_option("index.max_pixels")
@setting_option("index.pooling")
@setting_option("index.m")
@setting_option("index.top_k")
@setting_option("index.precision")
@setting_option("index.optimize_from")
@setting_option("index.optimize_after")
@click.option("--retry", is_flag=True, help="Try photos again that failed before.")
@click.option(
    "--check-content",
    is_flag=True,
    help="Read every photo again, to find edits that kept size and time.",
)
@click.option(
    "--rebuild",
    is_flag=True,
    help="Encode every photo again, with another model or other settings.",
)
@click.option("--offline", is_flag=True, help="Fail instead of downloading the model's weights.")
@click.option("--dry-run", is_flag=True, help="Print what would be done and change nothing.")
@json_option
@library_option
def index(
    folders: tuple[Path, ...],
    exclude: tuple[str, ...],
    retry: bool,
    check_content: bool,
    rebuild: bool,
    dry_run: bool,
    offline: bool,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Bring the photos under each DIR into the library.

    Without DIR, all folders of the library are brought up to date; a new library takes the folder
    that it is in.

    Only new and changed photos are read. A renamed photo keeps its vectors and tags, an edited one
    the tags that you set, a vanished one is marked missing, and one that cannot be read is counted
    and listed by `mkt status --failed`.
    Folders of other programs (trash, thumbnails), links that lead out of DIR, and what --exclude or
    a file .mktignore names, are left out; `mkt status --left-out` lists them.
    Every batch is committed: stop whenever you like, and run the command again to continue.

    A model or setting that is not given is the library's own; a new library takes the first model
    of `mkt models`, and downloads its weights once. To change one, add --rebuild:
    searches use the old vectors until the last new one is there. A rebuild keeps the model, but
    takes the default of every other setting that is not given.

    \b
    Examples:
      mkt index ~/Pictures --model checkpoints/first
      mkt index
      mkt index ~/Pictures --dry-run
    """
    keep_freed_memory()
    with (
        open_library(directory, take_settings(given)) as library,
        show_progress("opening the library", on_stop=stopped) as progress,
    ):
        summary = library.index(
            folders,
            exclude=exclude,
            rebuild=rebuild,
            retry=retry,
            check_content=check_content,
            dry_run=dry_run,
            offline=offline,
            progress=progress,
        )
    if as_json:
        show_json(asdict(summary))
    for line in sentences(summary, dry_run=dry_run):
        say(line)


def stopped(last: Progress) -> str:
    """Return what to print after Ctrl-C, given the last count of the run."""
    if last.step == INDEXING:
        return (
            f"stopped: {last.done - last.failed:,} of {last.total:,} photos are in the library; "
            "run the same command to continue"
        )
    return f"stopped while {last.step}; run the same command to continue"


def sentences(summary: "Summary", *, dry_run: bool = False) -> Iterator[str]:
    """Yield the lines that say what a run did, or would do."""
    parts = [f"{summary.renamed:,} renamed"] if summary.renamed else []
    parts += [count_noun(summary.duplicates, "copy", "copies")] if summary.duplicates else []
    sentence = "would index " if dry_run else "indexed "
    sentence += count_noun(summary.indexed, "photo") + (f" ({', '.join(parts)})" if parts else "")
    if not dry_run:
        sentence += f" in {duration(summary.seconds)}"
    rest = [f"{summary.failed:,} failed"] if summary.failed else []
    rest += [f"{summary.unchanged:,} unchanged"] if summary.unchanged else []
    yield f"{'; '.join([sentence, ', '.join(rest)]) if rest else sentence}."
    if summary.missing:
        would = "would be marked" if dry_run else "marked"
        photos = count_noun(summary.missing, "photo")
        yield f"{would} missing: {photos}; `mkt prune` removes them from the library."
    if summary.replaced:
        photos = count_noun(summary.replaced, "photo")
        yield (
            f"replaced by other pictures: {photos} that you tagged; the tags wait for the old "
            "pictures, see `mkt tags --source human`."
        )
    if summary.failed:
        yield f"{summary.failed:,} failed; see them with `mkt status --failed`:"
        yield from (f"  {line}" for line in _reasons(summary.reasons))
    if summary.skipped:
        yield f"left out: {_left_out(summary.skipped)}; `mkt status --left-out` lists them."
    if dry_run:
        yield "Nothing was changed."


def _reasons(reasons: Mapping[str, int]) -> list[str]:
    """Return lines with the most frequent reasons, and one that counts the others."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count:>6,}  {printable(why)}" for why, count in ordered[:REASONS_SHOWN]]
    rest = sum(count for _, count in ordered[REASONS_SHOWN:])
    return [*named, f"{rest:>6,}  for other reasons"] if rest else named


def _left_out(skipped: Mapping[str, int]) -> str:
    parts = []
    for why, count in sorted(skipped.items()):
        flag = next((flag for start, flag in FLAGS.items() if why.startswith(start)), "")
        parts.append(f"{count:,} x {why}{f' ({flag} includes them)' if flag else ''}")
    return ", ".join(parts)
