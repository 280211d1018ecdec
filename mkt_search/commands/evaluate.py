"""`mkt evaluate`: what models reach on labelled photos, by the paper's protocol and by others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands import evaluation_output as output
from mkt_search.commands.evaluate_ann import ann
from mkt_search.commands.open_library import library_folder
from mkt_search.display import printable
from mkt_search.errors import LibraryNotFound, StoreError
from mkt_search.progress import Progress
from mkt_search.settings import config
from mkt_search.terminal.options import (
    Group,
    library_option,
    refuse_options_before,
    setting_option,
    setting_options,
    take_settings,
)
from mkt_search.terminal.output import say
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.evaluation.evaluate import Stored
    from mkt_search.evaluation.report import Report
    from mkt_search.models.build import Model
    from mkt_search.settings.config import Config

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group, invoke_without_command=True)
@click.option(
    "--model",
    "names",
    metavar="TEXT",
    multiple=True,
    show_default="model.checkpoint of mkt.toml, or the library's",
    help="Checkpoint folder or open_clip NAME/TAG or NAME/FILE; more than one are compared.",
)
@click.option(
    "--only",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="Which of the labelled photos: those kept for the test, those learned from, or all.",
)
@click.option(
    "--stored",
    is_flag=True,
    help="Score what the library stores of the photos instead of every patch.",
)
@click.option(
    "--patches",
    is_flag=True,
    help="With --stored: every patch as well, to see what storing costs.",
)
@click.option(
    "--retrieval",
    is_flag=True,
    help="Print the measures of each label's best photos instead.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write everything as JSON; - is stdout, in place of the table.",
)
@click.option("--markdown", metavar="FILE", type=FILE, help="Write the tables.")
@click.option(
    "--html",
    metavar="FILE",
    type=FILE,
    help="Write one page with tables and plots in it.",
)
@click.option(
    "--plots",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the plots as PNG: precision over recall, AP of each label, how scores spread.",
)
@click.option(
    "--store/--no-store",
    default=True,
    show_default=True,
    help="Keep the results in the library, where there is one.",
)
@click.option("--list", "as_list", is_flag=True, help="Show earlier evaluations instead.")
@setting_options("data")
@setting_options("evaluate")
@setting_option("model.device")
@setting_option("model.dtype")
@library_option
@click.pass_context
def evaluate(
    context: click.Context,
    /,
    names: tuple[str, ...],
    only: Any,
    stored: bool,
    patches: bool,
    as_list: bool,
    store: bool,
    directory: Path | None,
    retrieval: bool,
    json_file: Path | None,
    markdown: Path | None,
    html: Path | None,
    plots: Path | None,
    **given: Any,
) -> None:
    """Measure how well models find labels, trained or not.

    Every model is judged on the same labelled photos (--photos, --labels, as for training) by its
    global, its local and its fused score; one with a learned prompt also in its plain template. The
    seen and unseen labels are those of the first checkpoint that tells of its training, else those
    of [data]. `mkt evaluate ann` measures the candidate index of a library instead.
    """
    if context.invoked_subcommand:
        refuse_options_before(context)
        return
    if as_list:
        output.show_earlier(directory, json_file)
        return
    wanted = output.Wanted(json_file, markdown, html, plots, retrieval)
    output.check(wanted)
    settings = _settings(directory, given)
    place = _library(directory, is_needed=stored or not (names or settings.model.checkpoint))
    if place is not None and store:
        output.check_library(place, settings)
    with _models(names, place, settings, stored=stored, patches=patches) as (models, vectors):
        report = _evaluate(models, settings, only, vectors)
    if store:
        _keep(report, place, settings, {"only": only, "stored": stored, "patches": patches})
    output.write(report, wanted)


evaluate.add_command(ann)


def _settings(directory: Path | None, given: dict[str, Any]) -> "Config":
    flags = {key: None if value == () else value for key, value in take_settings(given).items()}
    start = Path.cwd() if directory is None else config.named_library(directory)
    return config.load(start, flags=flags)


def _library(directory: Path | None, *, is_needed: bool) -> Path | None:
    """The library in reach; None where there is none and none was named or is needed."""
    try:
        return library_folder(directory)
    except LibraryNotFound as problem:
        if directory is not None:
            raise
        if is_needed:
            raise LibraryNotFound(f"{problem} Or name a checkpoint with --model.") from None
        return None


@contextmanager
def _models(
    names: tuple[str, ...], place: Path | None, settings: "Config", *, stored: bool, patches: bool
) -> "Iterator[tuple[list[Model], Stored | None]]":
    """Open the models, and the library where its model or its vectors are wanted."""
    from mkt_search.evaluation.evaluate import Stored
    from mkt_search.library import Library
    from mkt_search.models.build import open_model

    chosen = list(dict.fromkeys(names or filter(None, [settings.model.checkpoint])))
    models = [open_model(name) for name in chosen]
    if models and not stored:
        yield models, None
        return
    assert place is not None  # `_library` needs it then
    with Library.open(place, config=settings) as library:
        vectors = Stored(library.index(), patches=patches) if stored else None
        yield models or [library.model], vectors


def _evaluate(
    models: "list[Model]", settings: "Config", only: Any, vectors: "Stored | None"
) -> "Report":
    from mkt_search.evaluation.evaluate import evaluate_models
    from mkt_search.evaluation.labels import choose, rules_of

    notes: list[str] = []

    def tell(sentence: str) -> None:
        notes.append(sentence)
        say(printable(sentence))

    labelled, rows = choose(settings.data, models, only=only, say=tell)
    rules = rules_of(settings.evaluate, labelled, tell, kind=settings.data.kind)
    with show_progress() as show:
        report = evaluate_models(
            models,
            labelled,
            rows=rows,
            rules=rules,
            config=settings,
            stored=vectors,
            say=tell,
            progress=lambda model, done, total: show(Progress(model, done, total)),
        )
    return replace(report, notes=tuple(notes))


def _keep(report: "Report", place: Path | None, settings: "Config", asked: dict[str, Any]) -> None:
    """Store the results; they are shown all the same where that cannot be."""
    if place is None:
        say("no library in reach, so the results are not kept; `mkt init` makes one.")
        return
    told = {"data": asdict(settings.data), "evaluate": asdict(settings.evaluate), **asked}
    try:
        run = output.keep(report, place, settings, told)
    except StoreError as problem:
        say(f"the results are not kept: {problem}")
        return
    say(f"kept as run {run} in {printable(place)}; `mkt evaluate --list` shows what is there.")
