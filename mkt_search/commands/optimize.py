"""`mkt optimize`: build the candidate index that makes searches of a large library fast."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import byte_size, count_noun
from mkt_search.terminal.options import json_option, library_option
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.store.optimize import Optimized
    from mkt_search.store.recall_curve import Points, QueryKind

SHARES = (0.9, 0.95, 0.99)
NAMES: "dict[QueryKind, str]" = {
    "single": "for a label",
    "multi": "for two labels",
    "negated": "for one without another",
}


@click.command(short_help="Build an approximate index for faster searches.")
@json_option
@library_option
def optimize(as_json: bool, directory: Path | None) -> None:
    """Build an approximate index, so searches read 16 times less data.

    `mkt index` does this by itself for large libraries (settings optimize_from, optimize_after).
    Searches use the old index until the new one is complete and its recall is measured; you can
    stop at any time. Photos added later are found at once.
    """
    with open_library(directory, {}) as library:
        with show_progress("training the index") as progress:
            done = library.optimize(progress=progress)
        if done is None:
            photos = count_noun(len(library), "photo")
            say(f"{photos}: too few for a candidate index; searches read all of them.")
            return
    if as_json:
        show_json({"photos": done.photos, "bytes": done.bytes, "recall": done.curve.as_data()})
    say(f"built a candidate index of {count_noun(done.photos, 'photo')}, {byte_size(done.bytes)}.")
    say(recall_of(done))


def recall_of(done: "Optimized") -> str:
    """Return the measured recall as one sentence."""
    curves = done.curve.points
    depth = max(curves["single"])
    if not curves["single"][depth]:
        return "The library is so small that searches stay exact."
    shares = ", ".join(f"{100 * share:g} %" for share in SHARES)
    by_kind = (
        f"{name} {', '.join(_enough(curves[kind][depth], share) for share in SHARES)}"
        for kind, name in NAMES.items()
    )
    return (
        f"To have {shares} of the {depth} best photos among the candidates, a search probes this "
        f"many vectors: {'; '.join(by_kind)}."
    )


def _enough(points: "Points", share: float) -> str:
    return next((f"{probes:,}" for probes, recall in points if recall >= share), "(never)")
