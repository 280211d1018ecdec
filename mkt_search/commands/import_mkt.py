"""`mkt import-mkt`: convert the released model of MKT's authors into a checkpoint."""

from pathlib import Path
from typing import Any

import click

from mkt_search.display import printable
from mkt_search.terminal.options import Command, advanced_option
from mkt_search.terminal.output import say
from mkt_search.terminal.progress import show_progress

FILE = click.Path(path_type=Path)


@click.command(cls=Command, name="import-mkt", short_help="Import the model of MKT's authors.")
@click.option(
    "--image-checkpoint",
    "image",
    metavar="FILE",
    required=True,
    type=FILE,
    help="State dict of the first stage, the image encoder.",
)
@click.option(
    "--text-checkpoint",
    "text",
    metavar="FILE",
    required=True,
    type=FILE,
    help="State dict of the second stage, the text encoder.",
)
@click.option(
    "--clip-weights",
    metavar="FILE",
    show_default="none; required with --names clip",
    help="Weights of the CLIP model: OpenAI's file, a file of open_clip, or a tag to download.",
)
@click.option("--out", metavar="DIR", required=True, type=FILE, help="Checkpoint to create.")
@advanced_option(
    "--clip",
    metavar="NAME",
    default="ViT-B-16",
    show_default=True,
    help="The CLIP model that MKT was trained from, as open_clip names it.",
)
@advanced_option(
    "--names",
    type=click.Choice(["clip", "tuned"]),
    default="clip",
    show_default=True,
    help="Token embeddings of labels: CLIP's, as in the authors' evaluation, or the tuned ones of"
    " the second stage, as in their program for a single photo.",
)
def import_mkt(
    clip: str, clip_weights: str | None, image: Path, text: Path, names: Any, out: Path
) -> None:
    """Make a checkpoint of the two files that the authors of MKT released.

    `mkt score PHOTO --labels FILE --fuse vocabulary --model DIR` then gives the authors' scores.
    """
    from mkt_search.models.import_mkt import import_mkt

    with show_progress() as progress:
        import_mkt(
            clip=clip,
            clip_weights=clip_weights,
            image=image,
            text=text,
            names=names,
            out=out,
            progress=progress,
        )
    say(f"wrote {printable(out)}; use it with `mkt index --model {printable(out)} PHOTOS`")
