"""`mkt demo`: every command on a small synthetic world, without a network."""

import shlex
from functools import partial
from pathlib import Path

import click

from mkt_search.display import printable
from mkt_search.terminal.output import say
from mkt_search.terminal.progress import show_progress


@click.command(short_help="Try everything on a small synthetic world.")
@click.argument(
    "folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="mkt-demo"
)
@click.option(
    "--photos",
    default=1_000,
    show_default=True,
    type=click.IntRange(min=50),
    help="Scenes to render; those of an earlier run are kept.",
)
@click.pass_context
def demo(context: click.Context, folder: Path, photos: int) -> None:
    """Render a library of scenes in DIR, then index, search, tag and evaluate it.

    The results are in DIR/report.html. The scenes are drawn by rules, so their labels are known.
    The model is the built-in `--model demo`, which was trained on other scenes. Afterwards DIR is a
    library like any other.
    """
    from mkt_search.demo.tour import Tour

    run = partial(_run, context)
    report = Tour(folder, photos=photos, mkt=run, say=say, show_progress=show_progress).go()
    click.echo(printable(report))
    serve = shlex.join(["mkt", "serve", "--library", str(folder), "--open"])
    say(f"See the library in a browser: `{printable(serve)}`")


def _run(context: click.Context, words: list[str]) -> None:
    """Run another command of `mkt` with the same verbosity; exit with its code if it fails."""
    root = context.find_root()
    words = ["-v"] * root.params["verbose"] + words
    code = root.command.main(words, prog_name="mkt", standalone_mode=False)
    if code:
        context.exit(code)
