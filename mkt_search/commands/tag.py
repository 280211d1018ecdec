"""`mkt tag` and `mkt untag`: tag photos by score or by hand, and revert a run."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, printable
from mkt_search.models.download_policy import downloads
from mkt_search.settings.tag_rules import RULES, asked_of_tags
from mkt_search.spelling import label_key
from mkt_search.terminal.options import (
    COUNT,
    TEXT,
    Command,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import Column, say, show_json, show_table
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.library import Library
    from mkt_search.store.records import TagReport

LABEL_COLUMNS = (Column("label"), Column("photos", is_number=True))


@click.command(cls=Command)
@click.argument("photos", nargs=-1, metavar="[PHOTO]...", type=click.Path(path_type=Path))
@click.option(
    "--vocabulary",
    metavar="VOCABULARY",
    type=click.Path(path_type=Path),
    help="File of labels to score every photo against, one a line; # starts a comment. Or one that "
    "ships: everyday.",
)
@setting_option("tag.top")
@setting_option("tag.precision")
@setting_option("tag.min_p")
@setting_option("tag.threshold")
@setting_option("tag.memory_mb")
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --dry-run, write a page to look at, all in one file: of each label the best of its "
    "photos, one in the middle, and the last.",
)
@click.option(
    "--add",
    metavar="LABEL",
    type=TEXT,
    multiple=True,
    help="Put a label on each PHOTO by hand; may be repeated.",
)
@click.option(
    "--remove",
    metavar="LABEL",
    type=TEXT,
    multiple=True,
    help="Remove a label from each PHOTO, whoever set it, for good; may be repeated.",
)
@click.option(
    "--allow",
    metavar="LABEL",
    type=TEXT,
    multiple=True,
    help="Let runs set a label again that you removed from each PHOTO; may be repeated.",
)
@setting_option("model.checkpoint", advanced=True)
@json_option
@library_option
def tag(
    photos: tuple[Path, ...],
    vocabulary: Path | None,
    dry_run: bool,
    html: Path | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    allow: tuple[str, ...],
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Tag all photos with a vocabulary, or some PHOTOs by hand.

    With --vocabulary, every photo of the library is scored against every label of the file. By
    default each label gets as many photos as are expected to be right to 80 %, if a calibrator can
    tell (`mkt calibrate`); otherwise a photo gets the labels that stand out for it, five at most.
    --top, --precision, --min-p or --threshold take the place of that. Photos are not read again:
    stored vectors suffice. Earlier automatic tags of the same labels are replaced; tags set by hand
    are never changed. `mkt untag --run N` reverts a run.

    A label that you --remove stays away from a photo and its copies, whatever run covers it, until
    you --add it again or --allow it; `mkt tags --refused` lists such labels.

    \b
    Examples:
      mkt tag --vocabulary everyday --dry-run --html proposed.html
      mkt tag --vocabulary everyday --precision 0.9
      mkt tag a.jpg b.jpg --add "my dog" --remove cat
    """
    by_hand = bool(photos or add or remove or allow)
    if vocabulary is not None and by_hand:
        raise click.UsageError(
            "--vocabulary tags every photo; leave out PHOTO, --add, --remove and --allow."
        )
    if vocabulary is None and not (photos and (add or remove or allow)):
        raise click.UsageError(
            "Give --vocabulary FILE, or a PHOTO with --add LABEL, --remove LABEL or --allow LABEL."
        )
    if by_hand and (dry_run or as_json):
        flag = "--dry-run" if dry_run else "--json"
        raise click.UsageError(f"{flag} goes with --vocabulary.")
    if html is not None and not dry_run:
        raise click.UsageError("--html goes with --dry-run.")
    if vocabulary is not None:
        _leave_threads_to_blocks()
    flags = take_settings(given)
    if by_hand and any(flags[f"tag.{name}"] is not None for name in ("top", *RULES)):
        raise click.UsageError("--top, --precision, --min-p and --threshold go with --vocabulary.")
    with open_library(directory, flags) as library:
        if vocabulary is None:
            _by_hand(library, photos, add, remove, allow)
            return
        rule = asked_of_tags(library.config.tag, {name: flags[f"tag.{name}"] for name in RULES})
        _by_score(library, vocabulary, rule, dry_run=dry_run, html=html, as_json=as_json)


def _refuse_two_wishes(wishes: Mapping[str, Sequence[str]]) -> None:
    """Raise click.UsageError if two options name one label."""
    flags: dict[str, str] = {}
    for flag, labels in wishes.items():
        for label in labels:
            other = flags.setdefault(label_key(label), flag)
            if other != flag:
                raise click.UsageError(
                    f'"{printable(label)}" is in {other} and {flag}; choose one.'
                )


def _leave_threads_to_blocks() -> None:
    """Run each matrix product on one thread; OpenBLAS reads this when numpy is imported.

    Tagging has a thread for every block of photos. With threads of its own for each of them,
    OpenBLAS would oversubscribe the processor, and idle threads would spin.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _by_hand(
    library: "Library",
    photos: tuple[Path, ...],
    add: Sequence[str],
    remove: Sequence[str],
    allow: Sequence[str],
) -> None:
    add, remove, allow = (
        [library.label_name(one) for one in part] for part in (add, remove, allow)
    )
    _refuse_two_wishes({"--add": add, "--remove": remove, "--allow": allow})
    for label in add:
        count = library.add_tag(photos, label)
        rest = _rest(photos, count, "had it")
        say(f'added "{printable(label)}" to {count_noun(count, "photo")}{rest}')
    for label in remove:
        count = library.remove_tag(photos, label)
        rest = _rest(photos, count, "lacked it")
        say(f'removed "{printable(label)}" from {count_noun(count, "photo")}{rest}')
    for label in allow:
        count = library.allow_tag(photos, label)
        rest = _rest(photos, count, "did not refuse it")
        say(f'allowed "{printable(label)}" on {count_noun(count, "photo")}{rest}')


def _rest(photos: tuple[Path, ...], count: int, why: str) -> str:
    rest = len(set(photos)) - count
    return f" ({rest:,} {why})" if rest else ""


def _by_score(
    library: "Library",
    vocabulary: Path,
    rule: Mapping[str, Any],
    *,
    dry_run: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    from mkt_search.models.vocabulary import read_vocabulary

    labels = read_vocabulary(vocabulary)
    with show_progress("opening the model") as progress, downloads(progress=progress):
        report = library.tag(
            labels, **rule, dry_run=dry_run, examples=html is not None, progress=progress
        )
    counts = sorted(report.by_label.items(), key=lambda item: (-item[1], item[0]))
    if as_json:
        show_json(as_data(report))
    elif html is None:
        show_table(LABEL_COLUMNS, ((label, f"{count:,}") for label, count in counts))
    summary = _summary(report, dry_run=dry_run)
    if html is not None:
        from mkt_search.pages import proposals

        found = [
            proposals.Proposal(label, count, report.examples[label])
            for label, count in counts
            if report.examples.get(label)
        ]
        proposals.write(html, found, summary=summary, made_at=datetime.now())
        say(f"wrote {printable(html)}: {count_noun(len(found), 'label')}")
    say(summary)


def as_data(report: "TagReport") -> dict[str, Any]:
    """Return what a run did as JSON values."""
    return {
        "run": report.run,
        "photos": report.photos,
        "labels": report.labels,
        "added": report.added,
        "removed": report.removed,
        "kept": report.kept,
        "refused": report.refused,
        "by_label": dict(report.by_label),
        "rule": report.rule,
    }


def _summary(report: "TagReport", *, dry_run: bool) -> str:
    add, remove, keep = ("would add", "remove", "keep") if dry_run else ("added", "removed", "kept")
    added = f"{add} {count_noun(report.added, 'tag')}"
    counted = f"{added}, {remove} {report.removed:,}, {keep} {report.kept:,}"
    searched = f"{count_noun(report.photos, 'photo')}, {count_noun(report.labels, 'label')}"
    sentence = f"{counted}: {searched}; {report.rule}."
    if report.refused:
        left_out = count_noun(report.refused, "tag")
        sentence += f" Left out {left_out} that you removed by hand (`mkt tags --refused`)."
    if dry_run:
        return f"{sentence} Nothing was changed."
    return f"{sentence} Take it back with `mkt untag --run {report.run}`."


@click.command(cls=Command)
@click.option(
    "--run",
    metavar="N",
    type=COUNT,
    required=True,
    help="Run to revert; `mkt tags --runs` lists them.",
)
@json_option
@library_option
def untag(run: int, as_json: bool, directory: Path | None) -> None:
    """Revert a tagging run.

    Its tags are removed and those it had replaced are restored. Tags set by hand are never changed.
    """
    with open_library(directory, {}) as library:
        report = library.untag(run)
    if as_json:
        show_json(as_data(report))
    removed = count_noun(report.removed, "tag")
    say(f"took back run {run}: removed {removed}, restored {report.added:,}.")
