"""`mkt import-mkt`: a checkpoint from what the authors of MKT released."""

from pathlib import Path
from typing import Any

import click

from mkt_search.display import printable
from mkt_search.terminal.options import Command
from mkt_search.terminal.output import say

FILE = click.Path(path_type=Path)


@click.command(
    cls=Command, name="import-mkt", short_help="Make a checkpoint of the authors' release."
)
@click.option(
    "--clip",
    metavar="NAME",
    default="ViT-B-16",
    show_default=True,
    help="The CLIP that MKT started from, as open_clip names it.",
)
@click.option(
    "--clip-weights",
    metavar="FILE",
    show_default="none; needed with --names clip",
    help="Weights of that CLIP: OpenAI's file, one of open_clip, or a tag to download.",
)
@click.option(
    "--image-checkpoint",
    "image",
    metavar="FILE",
    required=True,
    type=FILE,
    help="The state dict of the first stage, the image encoder.",
)
@click.option(
    "--text-checkpoint",
    "text",
    metavar="FILE",
    required=True,
    type=FILE,
    help="The state dict of the second stage, the text encoder.",
)
@click.option(
    "--names",
    type=click.Choice(["clip", "tuned"]),
    default="clip",
    show_default=True,
    help="Embeddings of the tokens of a label: those of CLIP, as in the authors' evaluation; or"
    " those of the second stage, as in their program for a single photo.",
)
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=FILE,
    help="The checkpoint to make.",
)
def import_mkt(
    clip: str, clip_weights: str | None, image: Path, text: Path, names: Any, out: Path
) -> None:
    """Make a checkpoint of the two files that the authors of MKT released.

    `mkt score PHOTO --labels FILE --fuse vocabulary --model DIR` then gives their scores.
    """
    from mkt_search.models.import_mkt import import_mkt

    import_mkt(
        clip=clip,
        clip_weights=clip_weights,
        image=image,
        text=text,
        names=names,
        out=out,
        say=lambda sentence: say(printable(sentence)),
    )
    say(f"wrote {printable(out)}; use it by `mkt index --model {printable(out)} PHOTOS`")
