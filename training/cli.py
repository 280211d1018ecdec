"""`mkt train`: the commands of training. Settings come from flags, the environment and mkt.toml."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.display import printable
from mkt_search.models.download_policy import downloads
from mkt_search.process import keep_freed_memory, let_idle_threads_sleep
from mkt_search.progress import Progress
from mkt_search.settings import config
from mkt_search.terminal.options import (
    Command,
    Group,
    json_option,
    refuse_options_before,
    setting_option,
    setting_options,
    take_settings,
)
from mkt_search.terminal.progress import show_progress
from training.runs import report
from training.runs.launch import launched

if TYPE_CHECKING:
    from training.runs.history import Epoch

DIRECTORY = click.Path(path_type=Path)
STOPPED = "stopped; the same command, without --restart, continues after the last epoch shown"

out_option = click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=DIRECTORY,
    help="The checkpoint to make; DIR.run keeps the work of the run.",
)
restart_option = click.option(
    "--restart",
    is_flag=True,
    help="Discard a run that was stopped, and replace the checkpoint.",
)


@click.group(cls=Group, invoke_without_command=True, no_args_is_help=True)
@click.option(
    "--out",
    metavar="DIR",
    type=DIRECTORY,
    show_default="none; needed for both stages",
    help="The checkpoint to make; DIR.stage1 is that of stage 1.",
)
@restart_option
@json_option
@setting_option("stage1.recipe")
@setting_options("data")
@click.pass_context
def train(
    context: click.Context, /, out: Path | None, restart: bool, as_json: bool, **given: Any
) -> None:
    """Train a student on labeled photos, then tune its prompt.

    `mkt train --out DIR` runs both stages with the settings of [data], [stage1] and [stage2] in
    mkt.toml; with a label table in place of a text tower there is no prompt, and stage 1 is all. A
    run that was stopped continues when the same command is given again. The commands for one stage
    take its settings as options too.
    """
    let_idle_threads_sleep()
    keep_freed_memory()
    if context.invoked_subcommand:
        refuse_options_before(context)
        return
    if out is None:
        raise click.UsageError("Missing option '--out'. Name the checkpoint to make.")
    from training.api import train_config

    with _callbacks() as callbacks:
        found = train_config(_settings(given), out, restart=restart, **callbacks)
    _show_results(found.results, out, as_json=as_json)


@train.command(cls=Command, short_help="Train the student on seen labels.")
@out_option
@restart_option
@json_option
@setting_options("data")
@setting_options("stage1")
def stage1(out: Path, restart: bool, as_json: bool, **given: Any) -> None:
    """Train the student on the seen labels of labeled photos.

    Labels are split into seen and unseen ones. The unseen are never trained on; their ZSL mAP tells
    how well such labels are found. A run that was stopped continues after its last epoch when the
    same command is given again.
    """
    from training.recipes import stage1_settings
    from training.stage1 import train as run

    settings = _settings(given)
    with _callbacks() as callbacks:
        meta = run(settings.data, stage1_settings(settings), out, restart=restart, **callbacks)
    _show_results(meta.results, out, as_json=as_json)


@train.command(cls=Command, short_help="Tune the prompt of a trained student.")
@click.option(
    "--checkpoint",
    "source",
    required=True,
    metavar="DIR",
    type=DIRECTORY,
    help="The checkpoint of stage 1; it is not changed.",
)
@out_option
@restart_option
@json_option
@setting_options("data")
@setting_options("stage2")
def stage2(source: Path, out: Path, restart: bool, as_json: bool, **given: Any) -> None:
    """Tune the words around a label, so that the text tower places labels where photos are.

    Only the embeddings of the template's own tokens learn. The student does not change, so photos
    that were indexed with it need no new index. Give the photos, labels and splits of stage 1. A
    run that was stopped continues after its last epoch when the same command is given again.
    """
    from training.recipes import stage2_settings
    from training.stage2 import train as run

    settings = _settings(given)
    tuning = stage2_settings(settings)
    with _callbacks() as callbacks:
        meta = run(settings.data, tuning, source, out, restart=restart, **callbacks)
    _show_results(meta.results, out, as_json=as_json)


@train.command(cls=Command, short_help="Train the built-in demo models from scratch.")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=DIRECTORY,
    help="A new folder for scenes, teacher, students and checkpoint.",
)
@click.option(
    "--small",
    is_flag=True,
    help="Run every step once, in a minute; the result is useless.",
)
def demo(out: Path, small: bool) -> None:
    """Train the small CLIP of the demo world and its student, the models demo-teacher and demo.

    This takes hours. Each step leaves a folder in DIR and is skipped when that is there, so the
    same command continues a run that was stopped.
    """
    from training.demo.build import SMALL, Recipe, build_demo

    with _callbacks() as callbacks:
        made = build_demo(out, SMALL if small else Recipe(), **callbacks)
    click.echo(printable(made))


@contextlib.contextmanager
def _callbacks() -> Iterator[dict[str, Any]]:
    """Give the callbacks that show a run on stderr; after Ctrl-C, say how it is continued.

    Of the processes that `torchrun` started, only the first shows anything.
    """
    if launched()[0] > 0:
        yield {}
        return
    with show_progress(on_stop=lambda last: STOPPED) as show, downloads(progress=show):

        def show_epoch(epoch: "Epoch") -> None:
            show(Progress("", message=report.epoch_line(epoch)))

        yield {"progress": show, "on_epoch": show_epoch}


def _settings(given: dict[str, Any]) -> config.Config:
    return config.load(Path.cwd(), flags=take_settings(given))


def _show_results(results: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Print the results on stdout, and the command that uses the checkpoint on stderr."""
    if launched()[0] > 0:
        return
    click.echo(json.dumps(results, indent=2) if as_json else report.results_table(results))
    click.echo(f"wrote {out}; index photos with it: `mkt index --model {out} PHOTOS`", err=True)
