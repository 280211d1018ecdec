"""`mkt evaluate`: measure models on labeled photos."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.evaluate_ann import ann
from mkt_search.commands.evaluation_output import Output, output_options, show_evaluations
from mkt_search.commands.open_library import library_folder
from mkt_search.display import printable
from mkt_search.errors import LibraryNotFound, StoreError
from mkt_search.models.download_policy import downloads
from mkt_search.progress import ProgressCallback
from mkt_search.settings import config
from mkt_search.terminal.options import (
    Group,
    advanced_option,
    library_option,
    refuse_options_before,
    setting_option,
    setting_options,
    take_settings,
)
from mkt_search.terminal.output import say
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.evaluation.calibration_report import CalibrationReport
    from mkt_search.evaluation.report import Report
    from mkt_search.library import Library
    from mkt_search.settings.config import Config


@click.group(
    cls=Group, invoke_without_command=True, short_help="Measure how well models find labels."
)
@click.option(
    "--model",
    "names",
    metavar="TEXT",
    multiple=True,
    show_default="model.checkpoint of mkt.toml, or the library's model",
    help="Checkpoint folder, or open_clip NAME/TAG or NAME/FILE; repeat it to compare models.",
)
@setting_options("data")
@click.option(
    "--only",
    type=click.Choice(["test", "train", "all"]),
    default="test",
    show_default=True,
    help="Which labeled photos to evaluate.",
)
@click.option("--list", "as_list", is_flag=True, help="List earlier evaluations instead.")
@click.option(
    "--calibration",
    is_flag=True,
    help="Measure the probabilities p instead, on labels that neither model nor calibrator saw.",
)
@output_options
@advanced_option(
    "--stored", is_flag=True, help="Score the vectors that the library stores, not every patch."
)
@advanced_option(
    "--patches", is_flag=True, help="With --stored: score every patch as well, to compare both."
)
@advanced_option(
    "--store/--no-store",
    "keep",
    default=True,
    show_default=True,
    help="Keep the results in the library, if there is one.",
)
@setting_options("evaluate")
@setting_option("model.device")
@setting_option("model.dtype")
@setting_option("model.patch_vectors")
@library_option
@click.pass_context
def evaluate(
    context: click.Context,
    /,
    names: tuple[str, ...],
    only: Any,
    as_list: bool,
    calibration: bool,
    keep: bool,
    stored: bool,
    patches: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Measure how well models find labels, including labels they were never trained on.

    Name the labeled photos with --photos and --labels, as for training. All models are evaluated on
    the same photos and labels, by their global, local and fused scores. A model with a learned
    prompt is also evaluated with its plain template. The seen and unseen labels are those of the
    first checkpoint that records its training, else those that [data] splits off.

    --calibration measures what the probabilities of `mkt calibrate`, or of a checkpoint that has a
    calibrator, are worth on photos and labels that nothing was fitted on.

    `mkt evaluate ann` measures a library's candidate index instead.

    \b
    Examples:
      mkt evaluate --photos photos --labels labels.json --model student
      mkt evaluate --photos photos --labels labels.json --html evaluation.html
      mkt evaluate --photos photos --labels labels.json --calibration
      mkt evaluate --list
    """
    if context.invoked_subcommand:
        refuse_options_before(context)
        return
    if patches and not stored:
        raise click.UsageError("--patches goes with --stored; without it every patch is scored.")
    if calibration and (stored or as_list or given["retrieval"]):
        raise click.UsageError("--stored, --list and --retrieval do not go with --calibration.")
    output = Output.take(given)
    settings = _config(directory, given)
    if as_list:
        with _library(directory, settings) as kept:
            show_evaluations(kept.evaluations(), output.json_file)
        return
    output.check()
    names = names or tuple(filter(None, [settings.model.checkpoint]))
    if calibration:
        output.write_calibration(_calibration(directory, names, settings, only))
        return
    is_needed = stored or not names
    with _library_in_reach(directory, settings, is_needed=is_needed, is_used=keep) as library:
        with show_progress() as progress, downloads(progress=progress):
            if library is None:
                report = _without_library(names, settings, only, progress)
            else:
                report = library.evaluate(
                    names, only=only, stored=stored, patches=patches, progress=progress
                )
        if keep:
            _keep(report, library)
    output.write(report)


evaluate.add_command(ann)


def _config(directory: Path | None, given: dict[str, Any]) -> "Config":
    start = Path.cwd() if directory is None else config.named_library(directory)
    return config.load(start, flags=take_settings(given))


@contextmanager
def _library(directory: Path | None, settings: "Config") -> "Iterator[Library]":
    from mkt_search.library import Library

    with Library.open(library_folder(directory), config=settings) as library:
        yield library


@contextmanager
def _library_in_reach(
    directory: Path | None, settings: "Config", *, is_needed: bool, is_used: bool
) -> "Iterator[Library | None]":
    """Open the library; yield None if it has no use, or if there is none and none is needed."""
    if not is_needed and not is_used:
        yield None
        return
    try:
        library_folder(directory)
    except LibraryNotFound as problem:
        if directory is not None:
            raise
        if is_needed:
            raise LibraryNotFound(f"{problem} Or name a checkpoint with --model.") from None
        yield None
        return
    with _library(directory, settings) as library:
        yield library


def _without_library(
    names: tuple[str, ...], settings: "Config", only: Any, progress: ProgressCallback
) -> "Report":
    from mkt_search.evaluation.evaluate import evaluate
    from mkt_search.models.build import open_model

    models = [open_model(name) for name in dict.fromkeys(names)]
    return evaluate(models, settings, only=only, progress=progress)


def _calibration(
    directory: Path | None, names: tuple[str, ...], settings: "Config", only: Any
) -> "CalibrationReport":
    """Measure probabilities: with the calibrator of the library, or of each checkpoint."""
    from mkt_search.evaluation.calibration import Calibrated, evaluate_calibration
    from mkt_search.models.build import open_model
    from mkt_search.search.score_photo import calibrator_of

    with _library_in_reach(directory, settings, is_needed=not names, is_used=True) as library:
        with show_progress() as progress, downloads(progress=progress):
            if library is not None:
                return library.evaluate_calibration(names, only=only, progress=progress)
            models = [open_model(name) for name in dict.fromkeys(names)]
            calibrated = [
                Calibrated(model, calibrator_of(model, settings).needed()) for model in models
            ]
            return evaluate_calibration(calibrated, settings, only=only, progress=progress)


def _keep(report: "Report", library: "Library | None") -> None:
    """Keep the results in the library; a failure is only reported, so that no result is lost."""
    if library is None:
        say("there is no library to keep the results in; `mkt init` creates one.")
        return
    try:
        run = library.keep_evaluation(report)
    except StoreError as problem:
        say(f"the results are not kept: {problem}")
        return
    say(f"kept as run {run} in {printable(library.directory)}; see `mkt evaluate --list`.")
