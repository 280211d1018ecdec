"""`mkt score`: score photos for a list of labels, with every patch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import library_folder
from mkt_search.display import path_as_text, printable
from mkt_search.errors import LibraryNotFound
from mkt_search.settings import config
from mkt_search.terminal.options import (
    Command,
    advanced_option,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.models.build import Model
    from mkt_search.search.score_photo import LabelScore
    from mkt_search.settings.config import Config

P_COLUMN = Column("p", is_number=True)  # first, where there is a calibrator
SCORE_COLUMNS = (
    Column("score", is_number=True),
    Column("global", is_number=True),
    Column("local", is_number=True),
    Column("label"),
    Column("path"),
)


@click.command(cls=Command)
@click.argument(
    "photos", nargs=-1, required=True, metavar="PHOTO...", type=click.Path(path_type=Path)
)
@click.option(
    "--labels",
    "labels_file",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="The labels: a file with one per line, or the name of a vocabulary that ships.",
)
@advanced_option(
    "--fuse",
    type=click.Choice(["vocabulary", "cosine", "none"]),
    default="cosine",
    show_default=True,
    help="Scale of the two streams: cosine, as in a library; vocabulary, each divided by its norm"
    " over these labels (the paper's); none, the products as they are.",
)
@advanced_option(
    "--top-k",
    metavar="N",
    type=click.IntRange(min=1),
    show_default="the model's",
    help="Best patches averaged by the local stream.",
)
@click.option(
    "-k",
    "count",
    metavar="N",
    type=click.IntRange(min=1),
    show_default="all",
    help="Labels to show for each photo, best first.",
)
@setting_option("model.checkpoint")
@setting_option("model.device")
@setting_option("model.dtype")
@setting_option("model.patch_vectors")
@json_option
@library_option
def score(
    photos: tuple[Path, ...],
    labels_file: Path,
    fuse: Any,
    top_k: int | None,
    count: int | None,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Score photos for a list of labels, with every patch.

    A PHOTO need not be in the library. The model is that of --model, else the library's. Where
    it has a calibrator, p is the probability that the photo shows the label.
    """
    from mkt_search.models.vocabulary import read_vocabulary
    from mkt_search.search.score_photo import calibrator_of, score_photo

    labels = read_vocabulary(labels_file)
    settings, model, library = _model(directory, take_settings(given))
    calibrator = calibrator_of(model, settings, library)
    found = {
        photo: score_photo(
            photo,
            labels,
            model,
            config=settings,
            fuse=fuse,
            top_k=top_k or 0,
            calibrator=calibrator.calibrator,
        )[:count]
        for photo in photos
    }
    if calibrator.is_unusable:
        say(f"The scores have no probability. {calibrator.why}")
    if as_json:
        show_json([_as_data(photo, scores) for photo, scores in found.items()])
        return
    rows = (_row(photo, score) for photo, scores in found.items() for score in scores)
    show_table([*([P_COLUMN] if calibrator.calibrator else []), *SCORE_COLUMNS], rows)


def _model(directory: Path | None, flags: dict[str, Any]) -> "tuple[Config, Model, Path | None]":
    """Return the settings, the model that they name, and the library whose it is by default."""
    from mkt_search.library import Library
    from mkt_search.models.build import open_model

    start = Path.cwd() if directory is None else config.named_library(directory)
    settings = config.load(start, flags=flags)
    if settings.model.checkpoint:
        return settings, open_model(settings.model.checkpoint), None
    try:
        folder = library_folder(directory)
    except LibraryNotFound as problem:
        raise LibraryNotFound(f"{problem} Or name a checkpoint with --model.") from None
    with Library.open(folder, config=settings) as library:
        return settings, library.model, library.directory


def _as_data(photo: Path, scores: "Sequence[LabelScore]") -> dict[str, Any]:
    return {
        "path": path_as_text(photo),
        "labels": [
            {
                "label": found.label,
                **({} if found.p is None else {"p": found.p}),
                "score": found.score,
                "global": found.global_part,
                "local": found.local_part,
            }
            for found in scores
        ],
    }


def _row(photo: Path, found: "LabelScore") -> tuple[str, ...]:
    parts = (found.score, found.global_part, found.local_part)
    p = () if found.p is None else (f"{found.p:.2f}",)
    return (*p, *(f"{part:.4f}" for part in parts), found.label, printable(photo))
