"""`mkt`: the roof over all three packages. Finds a command when it is asked for; holds no logic."""

import errno
import importlib
import io
import logging
import os
import sys

import click

from mkt_search.display import printable
from mkt_search.errors import MktError
from mkt_search.settings.setting import nearest
from mkt_search.terminal.progress import EXIT_INTERRUPTED

COMMANDS = {
    "init": "mkt_search.commands.init:init",
    "demo": "mkt_search.demo.cli:demo",
    "index": "indexer.cli:index",
    "search": "mkt_search.commands.search:search",
    "tag": "mkt_search.commands.tag:tag",
    "untag": "mkt_search.commands.tag:untag",
    "tags": "mkt_search.commands.tags:tags",
    "score": "mkt_search.commands.score:score",
    "status": "mkt_search.commands.status:status",
    "train": "training.cli:train",
    "evaluate": "mkt_search.commands.evaluate:evaluate",
    "import-mkt": "mkt_search.commands.import_mkt:import_mkt",
    "verify": "mkt_search.commands.maintenance:verify",
    "repair": "indexer.cli:repair",
    "optimize": "mkt_search.commands.optimize:optimize",
    "prune": "mkt_search.commands.maintenance:prune",
    "root": "mkt_search.commands.maintenance:root",
    "migrate": "mkt_search.commands.maintenance:migrate",
}
"""Where each command lives, in the order a newcomer meets them."""

log = logging.getLogger(__name__)


class LazyGroup(click.Group):
    """Import a command's module only when that command, or its help, is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None is an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names; a misspelled one meets the nearest name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(
                f'No such command "{printable(args[0])}"{nearest(args[0], COMMANDS, "`mkt {}`")}'
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a problem a person can act on becomes one sentence and exit code 1."""
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
            return outcome
        except MktError as problem:
            raise click.ClickException(str(problem)) from problem
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # a reader that has seen enough; click ends quietly
                raise
            log.debug("where it happened:", exc_info=True)
            raise click.ClickException(_refused(problem)) from problem
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def _refused(problem: OSError) -> str:
    """What the system would not do, with the file where it names one."""
    why = problem.strerror or str(problem)
    if problem.filename is None:
        return f"reading or writing failed ({why}); -vv shows where."
    return f"{printable(os.fsdecode(problem.filename))}: {why}; -vv shows where."


def _open_stdout() -> None:
    """Let data leave as UTF-8, a terminal show what it can, and a closed stdout take nothing."""
    if sys.stdout is None:  # as `>&-` leaves it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = None if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mkt-search", prog_name="mkt")
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice says everything.")
def main(verbose: int) -> None:
    """Find and tag photos by any label, also one nobody trained.

    Start with `mkt init`, `mkt index FOLDER`, `mkt search "dog + beach"`. Every setting can also
    stand in mkt.toml, which `mkt init` puts beside the library.
    """
    _open_stdout()
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    for package in ("mkt_search", "indexer", "training"):
        logging.getLogger(package).setLevel(level)
