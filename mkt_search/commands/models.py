"""`mkt models`: list the models of open_clip that this project recommends."""

from dataclasses import asdict

import click

from mkt_search.models.recommended import DEFAULT, RECOMMENDED
from mkt_search.terminal.options import Command, json_option
from mkt_search.terminal.output import Column, show_json, show_table

COLUMNS = (
    Column("model"),
    Column("license"),
    Column("commercial"),
    Column("MB", is_number=True),
    Column("speed", is_number=True),
    Column("ImageNet %", is_number=True),
    Column("source"),
)


@click.command(cls=Command)
@json_option
def models(as_json: bool) -> None:
    """List recommended CLIP models: license, size of the download, speed, published accuracy.

    The first is what `mkt index` takes for a new library when no model is named. The speed is
    photos per second on a CPU, relative to ViT-B-16. The accuracy is zero-shot on ImageNet, as
    published; searches of your photos may rank the models otherwise. `--json` has the addresses of
    licenses and sources.

    \b
    Example:
      mkt index ~/Pictures --model ViT-B-16-SigLIP2-256/webli
    """
    if as_json:
        rows = [asdict(model) | {"default": model.name == DEFAULT} for model in RECOMMENDED]
        show_json(rows)
        return
    show_table(
        COLUMNS,
        (
            (
                model.name,
                model.license,
                "yes" if model.commercial else "no",
                f"{model.megabytes:,}",
                f"{model.speed:.2f}",
                f"{model.imagenet:.1f}",
                model.source.title,
            )
            for model in RECOMMENDED
        ),
    )
