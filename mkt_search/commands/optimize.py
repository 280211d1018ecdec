"""`mkt optimize`: build the candidate index that a large library is searched by."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import byte_size, count_noun
from mkt_search.terminal.options import json_option, library_option
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.store.candidates.build import Optimized
    from mkt_search.store.recall_curve import Points, QueryKind

SHARES = (0.9, 0.95, 0.99)
NAMES: "dict[QueryKind, str]" = {
    "one": "for a label",
    "several": "for two labels",
    "unwanted": "for one without another",
}


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
        with show_progress("learning codes") as progress:
            done = library.optimize(progress)
        if done is None:
            photos = count_noun(len(library), "photo")
            say(f"{photos}: too few for a candidate index; searches read all of them.")
            return
    if as_json:
        show_json({"photos": done.photos, "bytes": done.bytes, "recall": done.curve.as_data()})
    say(f"built a candidate index of {count_noun(done.photos, 'photo')}, {byte_size(done.bytes)}.")
    say(recall_of(done))


def recall_of(done: "Optimized") -> str:
    """Say what validation measured, in one sentence."""
    curves = done.curve.recall
    depth = max(curves["one"])
    if not curves["one"][depth]:
        return "So small a library is searched exactly all the same."
    shares = ", ".join(f"{100 * share:g} %" for share in SHARES)
    by_form = (
        f"{name} {', '.join(_enough(curves[form][depth], share) for share in SHARES)}"
        for form, name in NAMES.items()
    )
    return (
        f"Of the {depth} best photos {shares} are among the candidates when so many vectors are "
        f"asked for: {'; '.join(by_form)}."
    )


def _enough(points: "Points", share: float) -> str:
    return next((f"{vectors:,}" for vectors, recall in points if recall >= share), "(never)")
