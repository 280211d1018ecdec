"""`mkt doctor`: what is installed, what is missing, and what is wrong, on one page."""

from dataclasses import asdict
from pathlib import Path

import click

from mkt_search.display import count_noun
from mkt_search.terminal.options import json_option, library_option
from mkt_search.terminal.output import Column, say, show_json, show_table

COLUMNS = (Column("what"), Column("state"), Column("found"), Column("way out"))


@click.command(short_help="Find out why something does not work.")
@json_option
@library_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, directory: Path | None) -> None:
    """Look at packages, extras, GPU, disk, limits and the library, and say what is wrong.

    Nothing is changed. "absent" is optional and not there, "note" works but is worth knowing. Every
    package is imported in another process, which takes some seconds. The exit code is 1 if there
    is a problem.
    """
    from mkt_search.doctor.examine import examine

    found = list(examine(directory))
    if as_json:
        show_json([asdict(finding) for finding in found])
    else:
        show_table(COLUMNS, ((f.what, f.state, f.found, f.fix) for f in found))
    problems = sum(finding.state == "problem" for finding in found)
    say(f"{count_noun(problems, 'problem')} found." if problems else "No problem found.")
    ctx.exit(1 if problems else 0)
