"""`mkt train`: the commands of training. Settings come from flags, the environment and mkt.toml."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.display import printable
from mkt_search.process import keep_freed_memory, let_idle_threads_sleep
from mkt_search.settings import config
from mkt_search.terminal.options import (
    Command,
    Group,
    json_option,
    refuse_options_before,
    setting_options,
    take_settings,
)
from training.runs import report as show

if TYPE_CHECKING:
    from training.runs.history import Listener

DIRECTORY = click.Path(path_type=Path)

out_option = click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=DIRECTORY,
    help="The checkpoint to make; DIR.run beside it keeps the work of the run.",
)
restart_option = click.option(
    "--restart",
    is_flag=True,
    help="Forget a run that was stopped, and replace the checkpoint.",
)


@click.group(cls=Group, invoke_without_command=True, no_args_is_help=True)
@click.option(
    "--out",
    metavar="DIR",
    type=DIRECTORY,
    show_default="none; needed for both stages",
    help="The checkpoint to make; DIR.stage1 beside it is that of stage 1.",
)
@restart_option
@json_option
@setting_options("data")
@click.pass_context
def train(
    context: click.Context, /, out: Path | None, restart: bool, as_json: bool, **given: Any
) -> None:
    """Train a student to place photos among label vectors, then tune its prompt.

    `mkt train --out DIR` runs both stages, with the settings of [data], [stage1] and [stage2] in
    mkt.toml; what was stopped goes on when the same command is given again. A stage alone takes its
    settings as options too.
    """
    let_idle_threads_sleep()
    keep_freed_memory()
    if context.invoked_subcommand:
        refuse_options_before(context)
        return
    if out is None:
        raise click.UsageError("Missing option '--out'. Name the checkpoint to make.")
    from training import stages

    settings = _settings(given)
    with _going_on():
        meta = stages.train(
            settings.data,
            settings.stage1,
            settings.stage2,
            out,
            restart=restart,
            listeners=(_listener(settings.stage1.epochs), _listener(settings.stage2.epochs)),
        )
    _tell(meta.results, out, as_json=as_json)


@train.command(cls=Command, short_help="Train the student on seen labels.")
@out_option
@restart_option
@json_option
@setting_options("data")
@setting_options("stage1")
def stage1(out: Path, restart: bool, as_json: bool, **given: Any) -> None:
    """Train the student on the seen labels of labelled photos.

    A run that was stopped goes on after its last epoch when the same command is given again. Labels
    are split into seen and unseen ones; those unseen are never trained on and tell, as ZSL mAP, how
    well labels nobody trained are found.
    """
    from training.stage1 import train as run

    settings = _settings(given)
    listener = _listener(settings.stage1.epochs)
    with _going_on():
        meta = run(settings.data, settings.stage1, out, restart=restart, listener=listener)
    _tell(meta.results, out, as_json=as_json)


@train.command(cls=Command, short_help="Tune the prompt of a trained student.")
@click.option(
    "--checkpoint",
    "source",
    required=True,
    metavar="DIR",
    type=DIRECTORY,
    help="The checkpoint of stage 1; it is left as it is.",
)
@out_option
@restart_option
@json_option
@setting_options("data")
@setting_options("stage2")
def stage2(source: Path, out: Path, restart: bool, as_json: bool, **given: Any) -> None:
    """Tune the words around a label, so that the text tower places labels where photos are.

    Only the embeddings of the template's own tokens learn; the student stands still, so photos that
    were indexed with it need no new index. Give the same photos, labels and splits as to stage 1. A
    run that was stopped goes on after its last epoch when the same command is given again.
    """
    from training.stage2 import train as run

    settings = _settings(given)
    listener = _listener(settings.stage2.epochs)
    with _going_on():
        meta = run(settings.data, settings.stage2, source, out, restart=restart, listener=listener)
    _tell(meta.results, out, as_json=as_json)


@train.command(cls=Command, short_help="Train the built-in demo models from nothing.")
@click.option(
    "--out",
    "folder",
    required=True,
    metavar="DIR",
    type=DIRECTORY,
    help="A new folder for scenes, teacher, students and checkpoint.",
)
@click.option(
    "--small",
    is_flag=True,
    help="Run every step once in a minute; the result is useless.",
)
def demo(folder: Path, small: bool) -> None:
    """Train the small CLIP of the demo world and its student, the models `demo-teacher` and `demo`.

    This takes hours. Each step leaves a folder in DIR and is skipped when that is there, so the
    same command continues a run that was stopped.
    """
    from training.demo.build import SMALL, Recipe, rebuild

    made = rebuild(folder, SMALL if small else Recipe(), lambda line: click.echo(line, err=True))
    click.echo(printable(made))


@contextlib.contextmanager
def _going_on() -> Iterator[None]:
    """Tell who ends a run by Ctrl-C how it is gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        again = "the same command, without --restart, goes on after the last epoch that was told"
        click.echo(f"\n{again}", err=True)
        raise


def _settings(given: dict[str, Any]) -> config.Config:
    flags = {key: None if value == () else value for key, value in take_settings(given).items()}
    return config.load(Path.cwd(), flags=flags)


def _listener(epochs: int) -> "Listener":
    """A listener that says everything on stderr."""
    from training.runs.history import Listener

    def on_photos(done: int, total: int) -> None:
        line = show.photos_line(done, total)
        if line:
            click.echo(line, err=True)

    return Listener(
        say=lambda sentence: click.echo(sentence, err=True),
        on_photos=on_photos,
        on_epoch=lambda epoch: click.echo(show.epoch_line(epoch, of=epochs), err=True),
    )


def _tell(results: Mapping[str, Any], out: Path, *, as_json: bool) -> None:
    """Print the results on stdout, and what to do with the checkpoint on stderr."""
    click.echo(json.dumps(results, indent=2) if as_json else show.results_table(results))
    click.echo(f"wrote {out}; use it by `mkt index --model {out} PHOTOS`", err=True)
