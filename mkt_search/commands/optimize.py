"""`mkt optimize`: build the candidate index that a large library is searched by."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkt_search.commands.opening import open_library
from mkt_search.commands.output import bar, plural, say, show_json, sized
from mkt_search.options import json_option, library_option

if TYPE_CHECKING:
    from mkt_search.store.optimize import Optimized


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
    depth = max(done.curve.recall)
    pairs = done.curve.recall[depth]
    if not pairs:
        return "So small a library is searched exactly all the same."
    parts = ", ".join(f"{recall:.3f} from {vectors:,}" for vectors, recall in pairs)
    return f"Share of the {depth} best photos among the candidates, by vectors asked for: {parts}."
