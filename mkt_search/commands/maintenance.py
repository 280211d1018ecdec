"""Maintain a library: `mkt verify`, `mkt prune`, `mkt root`, `mkt migrate`."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import library_folder, open_library
from mkt_search.display import byte_size, count_noun, path_as_text, printable
from mkt_search.settings import config
from mkt_search.terminal.options import json_option, library_option
from mkt_search.terminal.output import Column, say, show_json, show_table
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.library import Library
    from mkt_search.store.checks import Problem

PROBLEM_COLUMNS = (Column("where"), Column("what"), Column("way out"))
ROOT_COLUMNS = (Column("photos", is_number=True), Column("exists"), Column("folder"))


@click.command()
@json_option
@library_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool, directory: Path | None) -> None:
    """Check the database against the stored vectors.

    Reads all vector files, compares their hashes and changes nothing. The exit code is 1 if
    something is wrong.
    """
    with open_library(directory, {}) as library, show_progress("checking segments") as progress:
        problems = library.verify(progress=progress)
    if as_json:
        show_json([_problem_as_data(problem) for problem in problems])
    else:
        show_table(PROBLEM_COLUMNS, ((p.where, p.what, p.fix) for p in problems))
    say(f"{count_noun(len(problems), 'problem')} found." if problems else "The library is sound.")
    ctx.exit(1 if problems else 0)


def _problem_as_data(problem: "Problem") -> dict[str, Any]:
    return {"what": problem.what, "where": problem.where, "fix": problem.fix}


@click.command()
@click.option("--tagged", is_flag=True, help="Also missing photos that you tagged, and the tags.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed and change nothing.")
@json_option
@library_option
def prune(tagged: bool, dry_run: bool, as_json: bool, directory: Path | None) -> None:
    """Remove missing photos, and vectors that no photo needs.

    Photos that `mkt index` marked missing are removed from the library, and so are vectors without
    a photo. Photos that you tagged stay, for they may be in a folder that is not indexed yet;
    --tagged removes them too. Your own files are never touched.
    """
    with open_library(directory, {}) as library:
        report = library.prune(tagged=tagged, dry_run=dry_run)
    if as_json:
        show_json(asdict(report))
    done = "would remove" if dry_run else "removed"
    kinds = (("missing photo", report.photos), ("tag", report.tags), ("segment", report.segments))
    counts = ", ".join(count_noun(count, kind) for kind, count in kinds)
    unused = count_noun(report.contents, "photo's vectors", "photos' vectors")
    say(f"{done} {counts} ({byte_size(report.bytes)}) and {unused}.")
    if report.kept:
        kept = count_noun(report.kept, "missing photo")
        say(f"kept {kept} that you tagged; --tagged removes them with their tags.")


@click.command(short_help="List or move the folders of photos.")
@click.argument("old", required=False, type=click.Path(path_type=Path))
@click.argument("new", required=False, type=click.Path(path_type=Path))
@json_option
@library_option
def root(old: Path | None, new: Path | None, as_json: bool, directory: Path | None) -> None:
    """List the folders of photos, or record that OLD has moved to NEW.

    Photo paths are stored relative to these folders: after a disk has moved, one `mkt root OLD NEW`
    is all it takes, also if NEW was indexed before.
    """
    with open_library(directory, {}) as library:
        if old is None:
            _show_roots(library, as_json=as_json)
        elif new is None:
            raise click.UsageError("Name both folders: mkt root OLD NEW.")
        else:
            count = library.move_root(os.path.abspath(old), new)
            say(
                f"{printable(old)} is now {printable(new)}: {count_noun(count, 'photo')} moved "
                "with it."
            )


def _show_roots(library: "Library", *, as_json: bool) -> None:
    roots = library.status().roots
    if as_json:
        keys = ("photos", "exists")
        found = [
            {k: getattr(item, k) for k in keys} | {"path": path_as_text(item.path)}
            for item in roots
        ]
        show_json(found)
        return
    rows = ((f"{r.photos:,}", "yes" if r.exists else "no", printable(r.path)) for r in roots)
    if not show_table(ROOT_COLUMNS, rows):
        say("No folder yet. Run `mkt index FOLDER`.")


@click.command()
@library_option
def migrate(directory: Path | None) -> None:
    """Bring the library's database up to date.

    Needed once after an upgrade of the program, if a command asks for it; otherwise does nothing.
    """
    from mkt_search.library import Library

    folder = library_folder(directory)
    with Library.open(folder, config=config.load(folder), check=False) as library:
        library.migrate()
    say(f"{printable(folder)} is up to date.")
