"""`mkt encode`: encode photos on many machines, by a plan of shards."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import count_noun, duration, printable
from mkt_search.errors import PlanError
from mkt_search.process import keep_freed_memory
from mkt_search.progress import Progress
from mkt_search.settings import config
from mkt_search.terminal.options import (
    TEXT,
    Command,
    Group,
    json_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import say, show_json
from mkt_search.terminal.progress import show_progress

if TYPE_CHECKING:
    from mkt_search.types import EncodeReport

PLAN = click.Path(path_type=Path, file_okay=False)
ROOT = click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the photos on this machine, if the plan names another.",
)
EXIT_INCOMPLETE = 1
MAX_RANGE = 15  # letters of 000000-999999, and some


@click.group(cls=Group, short_help="Encode photos on many machines.")
def encode() -> None:
    """Encode photos on many machines: plan, run anywhere, import.

    A plan is a folder that every machine reaches. It lists photos in shards. A worker needs the
    plan, the photos and the model, but no library; any number of workers share a plan, and each may
    be killed and started again. At last, the library imports what is done.

    \b
    Example:
      mkt encode plan ~/Pictures /shared/plan
      mkt encode run /shared/plan             # on each machine
      mkt encode import /shared/plan
    """


@encode.command(cls=Command, short_help="List the photos to encode in shards.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.argument("plan", type=PLAN)
@setting_option("model.checkpoint")
@setting_option("model.dtype")
@click.option(
    "--listing",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Take photos from a list instead of walking through DIR: a text file with a path a line, "
    "or a CSV or Parquet file with a column `path`; relative to DIR.",
)
@click.option(
    "--exclude",
    metavar="GLOB",
    multiple=True,
    type=TEXT,
    help="Leave out files and folders whose names match, as in .gitignore; may be repeated.",
)
@click.option(
    "--shard-size",
    metavar="N",
    type=click.IntRange(min=1),
    default=2_000,
    show_default=True,
    help="Photos of a shard: what a worker loses at most when it is killed.",
)
@json_option
@library_option
def plan(
    folder: Path,
    plan: Path,
    listing: Path | None,
    exclude: tuple[str, ...],
    shard_size: int,
    as_json: bool,
    directory: Path | None,
    **given: Any,
) -> None:
    """Write a plan for the photos in DIR that the library lacks to the new folder PLAN.

    The model and the settings of the vectors are the library's, or those of a new one.
    """
    with (
        open_library(directory, take_settings(given)) as library,
        show_progress("finding photos") as progress,
    ):
        found = library.plan_shards(
            folder,
            plan,
            listing=listing,
            exclude=exclude,
            photos_a_shard=shard_size,
            progress=progress,
        )
    if as_json:
        show_json({"plan": str(plan), "photos": found.photos, "shards": found.shards})
    say(
        f"{count_noun(found.photos, 'photo')} in {count_noun(found.shards, 'shard')}. On each "
        f"machine run `mkt encode run {shlex.quote(str(plan))}`."
    )


@encode.command(cls=Command, short_help="Encode shards of a plan; needs no library.")
@click.argument("plan", type=PLAN)
@click.option(
    "--shards",
    metavar="LIST",
    help="Which shards, as in 0-3,7; by default all that nobody has encoded.",
)
@click.option(
    "--model",
    metavar="MODEL",
    help="The model on this machine, if the plan's name of it leads elsewhere.",
)
@ROOT
@setting_option("model.device")
@setting_option("index.batch_size")
@setting_option("index.workers")
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Have a Ray cluster do it, each shard as a task: its address, `auto` for the one of this "
    "machine, `local` for this machine alone.",
)
@click.option(
    "--gpus",
    metavar="N",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="With --ray, the GPUs of a task.",
)
@json_option
def run(
    plan: Path,
    shards: str | None,
    model: str | None,
    root: Path | None,
    ray: str | None,
    gpus: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Encode the shards of PLAN that are not done.

    Several processes, on one machine or many, share a plan. A killed one loses at most the shard
    that it was at. In a Slurm array, give each task its own: `--shards $SLURM_ARRAY_TASK_ID`.
    """
    keep_freed_memory()
    settings = config.load(Path.cwd(), flags=take_settings(given))
    from mkt_search.library_shards import encode_shards

    with show_progress("opening the model", on_stop=stopped) as progress:
        report = encode_shards(
            plan,
            None if shards is None else parse_ranges(shards),
            root=root,
            model=model,
            device=settings.model.device,
            batch_size=settings.index.batch_size,
            workers=settings.index.workers,
            ray=ray,
            gpus=gpus,
            progress=progress,
        )
    if as_json:
        show_json(asdict(report))
    for line in sentences(report):
        say(line)


@encode.command("import", cls=Command, short_help="Bring encoded shards into the library.")
@click.argument("plan", type=PLAN)
@ROOT
@json_option
@library_option
def import_(plan: Path, root: Path | None, as_json: bool, directory: Path | None) -> None:
    """Bring the shards of PLAN that are done into the library; no photo is read.

    Import as often as you like: what the library has stays as it is. Exits with 1 if shards are
    damaged.
    """
    with (
        open_library(directory, {}) as library,
        show_progress("opening the library", on_stop=stopped) as progress,
    ):
        report = library.import_shards(plan, root=root, progress=progress)
    if as_json:
        show_json(asdict(report))
    rest = [f"{report.failed:,} failed"] if report.failed else []
    rest += [f"{report.unchanged:,} unchanged"] if report.unchanged else []
    line = f"imported {count_noun(report.indexed, 'photo')} in {duration(report.seconds)}"
    say("; ".join([line, ", ".join(rest)]) + "." if rest else f"{line}.")
    if report.missing:
        say(f"{count_noun(report.missing, 'shard')} not done yet.")
    if report.damaged:
        say(f"{count_noun(len(report.damaged), 'shard')} damaged and left out.")
        raise SystemExit(EXIT_INCOMPLETE)


@encode.command(cls=Command, short_help="Show which shards of a plan are done.")
@click.argument("plan", type=PLAN)
@json_option
def status(plan: Path, as_json: bool) -> None:
    """Count the shards of PLAN that are done, and name those that are not."""
    from mkt_search.library_shards import read_plan

    found = read_plan(plan)
    missing = found.missing()
    if as_json:
        show_json({"shards": found.shards, "photos": found.photos, "missing": missing})
    say(f"{found.shards - len(missing):,} of {count_noun(found.shards, 'shard')} done.")
    if missing:
        say(f"not done: {as_ranges(missing)}")


@encode.command(cls=Command, short_help="Print a Slurm script for a plan.")
@click.argument("plan", type=PLAN)
@click.option(
    "--gpus",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="GPUs of a task; 0 asks for none.",
)
@click.option("--tasks", type=click.IntRange(min=1), metavar="N", help="Run so many at once.")
def slurm(plan: Path, gpus: int, tasks: int | None) -> None:
    """Print an array job for `sbatch` that encodes the shards of PLAN that are not done."""
    from mkt_search.library_shards import read_plan

    found = read_plan(plan)
    missing = found.missing()
    if not missing:
        raise PlanError(f"All shards of {plan} are done; run `mkt encode import {plan}`.")
    limit = f"%{tasks}" if tasks else ""
    say_lines = [
        "#!/bin/sh",
        "#SBATCH --job-name=mkt-encode",
        f"#SBATCH --array={as_ranges(missing)}{limit}",
        *([f"#SBATCH --gpus-per-task={gpus}"] if gpus else []),
        "#SBATCH --output=mkt-encode-%a.log",
        f'mkt encode run {shlex.quote(str(plan.resolve()))} --shards "$SLURM_ARRAY_TASK_ID"',
    ]
    click.echo("\n".join(say_lines))


def stopped(last: Progress) -> str:
    """Return what to print after Ctrl-C."""
    return f"stopped at {last.done:,} of {last.total:,}; run the same command to continue"


def sentences(report: "EncodeReport") -> Iterator[str]:
    """Yield the lines that say what a worker did."""
    yield (
        f"encoded {count_noun(report.shards, 'shard')}, {count_noun(report.photos, 'photo')}"
        + (f"; {report.failed:,} failed" if report.failed else "")
        + "."
    )
    if report.gone:
        yield f"{count_noun(report.gone, 'photo')} of the plan not there now."
    if report.skipped:
        yield f"{count_noun(report.skipped, 'shard')} done before."
    if report.busy:
        yield f"{count_noun(report.busy, 'shard')} left to other workers."


def as_ranges(shards: Sequence[int]) -> str:
    """Return shards in short: 0-3,7."""
    ranges: list[list[int]] = []
    for shard in shards:
        if ranges and shard == ranges[-1][1] + 1:
            ranges[-1][1] = shard
        else:
            ranges.append([shard, shard])
    return ",".join(f"{first}-{last}" if first < last else f"{first}" for first, last in ranges)


def parse_ranges(text: str) -> list[int]:
    """Undo `as_ranges`. Raises PlanError if the text is something else."""
    shards: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > MAX_RANGE:
            raise PlanError(f'"{printable(text)}" does not name shards; write them as in 0-3,7.')
        shards.extend(range(int(first), int(last or first) + 1))
    return shards
