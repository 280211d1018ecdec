"""`mkt feedback`: judge hits of a label, so that later searches for it follow."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, local_time, path_as_text, printable
from mkt_search.terminal.options import (
    TEXT,
    Command,
    Decorated,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.types import Feedback, Judgement

COLUMNS = (
    Column("label"),
    Column("judged"),
    Column("path"),
    Column("person"),
    Column("when"),
    Column("model"),
)
WITH_PHOTOS = ("--yes", "--no", "--forget")


class PhotosAfterOptions(Command):
    """A command whose options take any number of photos: `--yes a.jpg b.jpg --no c.jpg`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its photos, which is what click understands."""
        return super().parse_args(ctx, list(_repeated(args)))


def _repeated(args: Iterable[str]) -> Iterable[str]:
    option: str | None = None
    is_first = False
    for arg in args:
        if arg in WITH_PHOTOS:
            option, is_first = arg, True
            yield arg
        elif arg.startswith("-"):
            option = None
            yield arg
        else:
            if option is not None and not is_first:
                yield option
            is_first = False
            yield arg


def _photos_option(flag: str, name: str, what: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        flag,
        name,
        metavar="PHOTO...",
        type=click.Path(path_type=Path),
        multiple=True,
        help=what,
    )


@click.command(cls=PhotosAfterOptions, short_help="Judge hits of a label; searches follow.")
@click.argument("label", required=False, type=TEXT)
@_photos_option("--yes", "yes", "Photos that show the label.")
@_photos_option("--no", "no", "Photos that do not.")
@_photos_option("--forget", "withdrawn", "Photos whose judgements to take back.")
@click.option("--forget-all", is_flag=True, help="Take back all judgements for the label.")
@setting_option("model.checkpoint", advanced=True)
@json_option
@library_option
def feedback(
    label: str | None,
    yes: tuple[Path, ...],
    no: tuple[Path, ...],
    withdrawn: tuple[Path, ...],
    forget_all: bool,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Judge hits of a LABEL; later searches for it follow, for all photos.

    The judgements change what a search for the label ranks first and, with a calibrator, p and how
    many photos --precision shows. A photo judged no is no hit of the label any more. Ten judgements
    are enough to matter; those of doubtful photos (p near 0.5) teach most. A later judgement of a
    photo replaces an earlier one. Tags stay as they are.

    Without photos, the judgements for LABEL are listed, without LABEL all.

    \b
    Examples:
      mkt feedback dog --yes a.jpg b.jpg --no c.jpg
      mkt feedback dog
      mkt feedback dog --forget c.jpg
      mkt feedback dog --forget-all
    """
    if bool(yes or no) + bool(withdrawn) + forget_all > 1:
        raise click.UsageError(
            "--yes and --no, --forget, and --forget-all exclude each other; give one of them."
        )
    if label is None and (yes or no or withdrawn or forget_all):
        raise click.UsageError("Name the LABEL that is judged, before the photos.")
    with open_library(directory, take_settings(given)) as library:
        if label is not None and (yes or no):
            found = library.add_feedback(label, yes=yes, no=no)
            if as_json:
                show_json(vars(found))
            say(sentence(found))
        elif label is not None and (withdrawn or forget_all):
            count = library.remove_feedback(label, withdrawn or None)
            if as_json:
                show_json({"forgotten": count})
            say(f"took back {count_noun(count, 'judgement')} for {printable(label)}")
        else:
            judgements = list(library.judgements(label))
            if as_json:
                show_json([as_data(one) for one in judgements])
            elif not show_table(COLUMNS, map(_row, judgements)):
                say("No judgements. Make some with `mkt feedback LABEL --yes PHOTO --no PHOTO`.")
            if label is not None and judgements:
                say(sentence(library.feedback(label)))


def sentence(found: "Feedback") -> str:
    """Return what judgements come to, in words."""
    text = f"{printable(found.label)}: {found.yes:,} yes, {found.no:,} no; "
    if not found.used:
        return text + "none of these photos can be found now, so that they change nothing"
    text += f"the label vector is turned by {found.turned:.1f} degrees"
    if found.offset is not None:
        text += f", and the logit of p changed by {found.offset:+.2f}"
    return text


def as_data(one: "Judgement") -> dict[str, Any]:
    """Return a judgement as JSON values."""
    return {
        "label": one.label,
        "judged": _answer(one),
        "path": path_as_text(one.path),
        "person": one.person,
        "judged_at": one.judged_at.isoformat() + "Z",
        "model": one.model,
        "is_missing": one.is_missing,
    }


def _row(one: "Judgement") -> tuple[str, ...]:
    path = f"{printable(one.path)}{' (missing)' if one.is_missing else ''}"
    judged = (one.label, _answer(one), path)
    return (*judged, printable(one.person), local_time(one.judged_at), one.model)


def _answer(one: "Judgement") -> str:
    return "yes" if one.is_yes else "no"
