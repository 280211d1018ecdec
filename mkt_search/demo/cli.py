"""`mkt demo`: the whole tool on a world of its own, without a network."""

from functools import partial
from pathlib import Path

import click

from mkt_search.display import printable


@click.command(short_help="Try everything on a made-up world.")
@click.argument(
    "folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default="mkt-demo"
)
@click.option(
    "--photos",
    default=1_000,
    show_default=True,
    type=click.IntRange(min=50),
    help="How many scenes to render; those of an earlier run are kept.",
)
@click.pass_context
def demo(context: click.Context, folder: Path, photos: int) -> None:
    """Render a library of scenes in DIR, then index, search, tag and evaluate it.

    Ends with DIR/report.html, which has it all to look at. The scenes are made by rules, so what
    they show is known; the checkpoint is the built-in one, `--model demo`, which no photo of this
    library took part in training. DIR is a library like any other: go on in it as you like.
    """
    from mkt_search.demo.tour import Tour

    report = Tour(folder, photos=photos, mkt=partial(_run, context), say=_say).go()
    click.echo(printable(report))


def _run(context: click.Context, words: list[str]) -> None:
    """Run another command of `mkt`, as talkative as this one; where it was stopped, so is this."""
    root = context.find_root()
    words = ["-v"] * root.params["verbose"] + words
    code = root.command.main(words, prog_name="mkt", standalone_mode=False)
    if code:
        context.exit(code)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
