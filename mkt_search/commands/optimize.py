"""`mkt optimize`: build the candidate index that a large library is searched by."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkt_search.commands.opening import open_library
from mkt_search.commands.output import bar, plural, say, show_json, sized
from mkt_search.options import json_option, library_option

if TYPE_CHECKING:
    from mkt_search.store.generations import Points
    from mkt_search.store.optimize import Optimized

MEASURED = {"one": "one label", "several": "two labels", "unwanted": "one without another"}


@click.command()
@json_option
@library_option
def optimize(as_json: bool, directory: Path | None) -> None:
    """Build a candidate index, so that a search reads a sixteenth.

    `mkt index` does it by itself for a large library (settings optimize_from and optimize_after).
    Searches go on with the old index until the new one is whole and its recall is measured; stop it
    whenever you like. Photos that come later are found at once all the same.
    """
    with open_library(directory, {}) as library:
        with bar("learning codes") as told:
            done = library.optimize(told)
        if done is None:
            photos = plural(len(library), "photo")
            say(f"{photos}: too few for a candidate index; searches read all of them.")
            return
    if as_json:
        show_json({"photos": done.photos, "bytes": done.bytes, "recall": done.curve.as_data()})
    say(f"built a candidate index of {plural(done.photos, 'photo')}, {sized(done.bytes)}.")
    say(recall_of(done))


def recall_of(done: "Optimized") -> str:
    """Say what validation measured, in one sentence."""
    one = done.curve.recall["one"]
    depth = max(one)
    if not one[depth]:
        return "So small a library is searched exactly all the same."
    return (
        f"Share of the {depth} best photos among the candidates, by vectors asked for: "
        + "; ".join(f"{MEASURED[k]} {_shares(by[depth])}" for k, by in done.curve.recall.items())
        + "."
    )


def _shares(points: "Points") -> str:
    return ", ".join(f"{recall:.3f} from {vectors:,}" for vectors, recall in points)
