"""`mkt calibrate`: learn from labeled photos what a score means."""

from pathlib import Path
from typing import Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.terminal.options import (
    Command,
    json_option,
    library_option,
    setting_option,
    setting_options,
    take_settings,
)
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress


@click.command(cls=Command, short_help="Learn from labeled photos what a score means.")
@setting_options("data")
@click.option(
    "--from-tags",
    is_flag=True,
    help="Learn from the tags that you set or imported, instead of other photos.",
)
@click.option(
    "--leave-out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Labels not to learn from, one a line, to test with.",
)
@setting_option("model.checkpoint", advanced=True)
@setting_option("model.device")
@setting_option("model.dtype")
@json_option
@library_option
def calibrate(
    from_tags: bool,
    leave_out: Path | None,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Learn what a score of the library's model means, from photos whose labels are known.

    Some hundred photos are enough; they need not be in the library, but should be like those in it.
    Name them with --photos and --labels, as for `mkt evaluate`. Hits then have a probability p, and
    `mkt search dog --precision 0.9` shows as many photos as that allows.

    With --from-tags, the photos are those of the library that have a tag which you set or imported.
    Each counts as looked at: a label that it has not is one that it does not show.

    \b
    Examples:
      mkt calibrate --photos labeled --labels labels.json
      mkt calibrate --from-tags
    """
    from mkt_search.calibration import quality
    from mkt_search.models.vocabulary import read_vocabulary
    from mkt_search.settings.config import find_setting

    settings = take_settings(given)
    data = [n for n, value in settings.items() if n.startswith("data.") and value is not None]
    if from_tags and data:
        flag = find_setting(data[0]).flag
        raise click.UsageError(f"--from-tags and {flag} exclude each other; give one of them.")
    kept_back = read_vocabulary(leave_out) if leave_out is not None else ()
    with open_library(directory, settings) as library:
        with show_progress("encoding photos") as progress:
            found = library.calibrate(from_tags=from_tags, leave_out=kept_back, progress=progress)
        if as_json:
            show_json({"made_from": found.made_from, "quality": quality.as_data(found.quality)})
        for sentence in quality.lines(found.quality):
            say(sentence)
        if found.quality.is_chance:
            say("the scores cannot tell whether a label is there: p is near the average for all")
