"""`mkt train`: the commands of training. Settings come from flags, the environment and mkt.toml."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mkt_search import config
from mkt_search.options import json_option, setting_option, take_settings

if TYPE_CHECKING:
    from training.stage1 import Epoch

Command = TypeVar("Command", bound=Callable[..., Any])

SECTION = "stage1"
PHOTOS_BETWEEN_LINES = 1_000


def setting_options(section: str) -> Callable[[Command], Command]:
    """Add an option for every setting of a section; None or () is one that was not given."""

    def add(command: Command) -> Command:
        for item in reversed([s for s in config.settings() if s.section == section]):
            option = _list_option if item.kind is tuple else setting_option
            command = option(item.name)(command)
        return command

    return add


def _list_option(name: str) -> Callable[[Command], Command]:
    """The option of a setting that is a list: three numbers, or texts each with the flag again."""
    item = config.find_setting(name)
    more: dict[str, Any] = {"multiple": True, "metavar": "NAME=VALUE"}
    if item.element is float:
        more = {"type": float, "nargs": 3, "metavar": "R G B"}
    flag = item.flag.replace("-args", "-arg")
    return click.option(flag, name.replace(".", "__"), help=item.help, **more)


@click.group()
def train() -> None:
    """Train a student to place photos among label vectors."""


@train.command(short_help="Train the student on seen labels.")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The checkpoint to make; DIR.run beside it keeps the work of the run.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Forget a run that was stopped, and replace the checkpoint.  [default: off]",
)
@json_option
@setting_options(SECTION)
def stage1(out: Path, restart: bool, as_json: bool, **given: Any) -> None:
    """Train the student on seen labels, from a folder of photos and a file of their labels.

    A run that was stopped goes on after its last epoch when the same command is given again. Labels
    are split into seen and unseen ones; those unseen are never trained on and tell, as ZSL mAP, how
    well labels nobody trained are found.
    """
    from training.stage1 import Listener
    from training.stage1 import train as run

    flags = {key: None if value == () else value for key, value in take_settings(given).items()}
    settings = config.load(Path.cwd(), flags=flags).stage1
    meta = run(
        settings,
        out,
        restart=restart,
        listener=Listener(
            say=lambda sentence: click.echo(sentence, err=True),
            on_photos=_say_photos,
            on_epoch=lambda epoch: click.echo(epoch_line(epoch, of=settings.epochs), err=True),
        ),
    )
    click.echo(json.dumps(meta.results, indent=2) if as_json else results_table(meta.results))
    click.echo(f"wrote {out}; use it by `mkt index --model {out} PHOTOS`", err=True)


def epoch_line(epoch: "Epoch", *, of: int) -> str:
    """Return what is said after an epoch: losses, then mAP on the validation photos."""
    total, *parts = epoch.losses.items()
    named = ", ".join(f"{name} {value:.4f}" for name, value in parts)
    words = [
        f"epoch {epoch.number}/{of}",
        f"loss {total[1]:.4f}" + (f" ({named})" if named else ""),
    ]
    maps = epoch.validation.get("cosine", {})
    if "unseen" in maps:
        streams = maps["unseen"]
        words.append(
            f"ZSL mAP {streams['fused']:.4f} (global {streams['global']:.4f},"
            f" local {streams['local']:.4f})"
        )
    if "all" in maps:
        words.append(f"GZSL mAP {maps['all']['fused']:.4f}")
    return "  ".join([*words, f"lr {epoch.rate:.1e}", f"{epoch.seconds:.1f} s"])


def results_table(results: dict[str, Any]) -> str:
    """Return the results on the test photos as a table: mAP of each stream, by labels and scale."""
    found = results["test"]
    lines = [f"mAP on {found['photos']:,} test photos    global   local   fused"]
    for rule in ("cosine", "vocabulary"):
        for labels, streams in found[rule].items():
            numbers = "  ".join(f"{streams[name]:6.4f}" for name in ("global", "local", "fused"))
            lines.append(f"{labels + ' labels, ' + rule:<27}  {numbers}")
    return "\n".join(lines)


def _say_photos(done: int, total: int) -> None:
    step = PHOTOS_BETWEEN_LINES
    if done == total or done // step > max(done - 32, 0) // step:
        click.echo(f"features of {done:,} of {total:,} photos", err=True)
