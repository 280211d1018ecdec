"""`mkt map`: make the map of a library, or place new photos on it."""

from collections import Counter
from pathlib import Path

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, printable
from mkt_search.terminal.options import json_option, library_option
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress

NEAR = 1  # the level of clusters with the most of them
NAMES_SHOWN = 12


@click.command(name="map", short_help="Lay out all photos on a plane, alike ones side by side.")
@click.option("--again", is_flag=True, help="Replace the map by a new one of the photos of now.")
@json_option
@library_option
def map_(again: bool, as_json: bool, directory: Path | None) -> None:
    """Make the map that `mkt serve` shows, or place new photos on it.

    At most 20,000 photos are laid out by t-SNE, which takes about a minute; the others are placed
    among those like them. Photos stay where they are when others are added. Needs the extra `map`.
    """
    with open_library(directory, {}) as library:
        with show_progress("making the map") as progress:
            found = library.project(again=again, progress=progress)
    near = [cluster for cluster in found.clusters if cluster.level == NEAR]
    if as_json:
        clusters = [cluster._asdict() for cluster in found.clusters]
        show_json({"photos": len(found), "clusters": clusters})
    say(f"{count_noun(len(found), 'photo')} on the map, in {count_noun(len(near), 'cluster')}.")
    names = Counter({cluster.name: cluster.photos for cluster in near if cluster.name})
    if names:
        largest = ", ".join(printable(name) for name, _ in names.most_common(NAMES_SHOWN))
        say(f"The largest show: {largest}.")
