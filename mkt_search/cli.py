"""The command `mkt`: imports a subcommand when it is called, and turns errors into sentences."""

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
from mkt_search.terminal.output import StderrHandler
from mkt_search.terminal.progress import EXIT_INTERRUPTED

SECTIONS = {
    "Commands": {
        "init": "mkt_search.commands.init:init",
        "index": "mkt_search.commands.index:index",
        "search": "mkt_search.commands.search:search",
        "feedback": "mkt_search.commands.feedback:feedback",
        "serve": "mkt_search.commands.serve:serve",
        "tag": "mkt_search.commands.tag:tag",
        "untag": "mkt_search.commands.tag:untag",
        "tags": "mkt_search.commands.tags:tags",
        "map": "mkt_search.commands.map:map_",
        "status": "mkt_search.commands.status:status",
        "demo": "mkt_search.demo.cli:demo",
    },
    "Models": {
        "models": "mkt_search.commands.models:models",
        "score": "mkt_search.commands.score:score",
        "labels": "mkt_search.commands.labels:labels",
        "evaluate": "mkt_search.commands.evaluate:evaluate",
        "calibrate": "mkt_search.commands.calibrate:calibrate",
        "train": "training.cli:train",
        "import-mkt": "mkt_search.commands.import_mkt:import_mkt",
    },
    "Many machines": {
        "encode": "mkt_search.commands.encode:encode",
    },
    "Maintenance": {
        "verify": "mkt_search.commands.maintenance:verify",
        "repair": "mkt_search.commands.repair:repair",
        "optimize": "mkt_search.commands.optimize:optimize",
        "prune": "mkt_search.commands.maintenance:prune",
        "root": "mkt_search.commands.maintenance:root",
        "migrate": "mkt_search.commands.maintenance:migrate",
    },
    "This program": {
        "doctor": "mkt_search.commands.doctor:doctor",
        "completion": "mkt_search.commands.completion:completion",
        "man": "mkt_search.commands.man:man",
    },
}
"""Where each command is, by the heading under which `mkt --help` lists it."""

COMMANDS = {name: place for section in SECTIONS.values() for name, place in section.items()}

log = logging.getLogger(__name__)


class LazyGroup(click.Group):
    """Imports the module of a command when the command or its help is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands of each section with their first sentence."""
        width = formatter.width - max(map(len, COMMANDS)) - 6
        for heading, section in SECTIONS.items():
            commands = ((name, self.get_command(ctx, name)) for name in section)
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, found.get_short_help_str(width)) for name, found in commands if found]
                )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names; for an unknown one, suggest the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(
                f'No such command "{printable(args[0])}"{nearest(args[0], COMMANDS, "`mkt {}`")}'
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error that the user can act on becomes a sentence and exit code 1."""
        try:
            outcome = super().invoke(ctx)
            sys.stdout.flush()
            return outcome
        except MktError as problem:
            raise click.ClickException(str(problem)) from problem
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # the reader closed the pipe; click exits quietly
                raise
            log.debug("traceback:", exc_info=True)
            raise click.ClickException(_system_error(problem)) from problem
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def _system_error(problem: OSError) -> str:
    """Return a sentence about an operating system error, with the file if it names one."""
    why = problem.strerror or str(problem)
    if problem.filename is None:
        return f"reading or writing failed ({why}); -vv shows where."
    return f"{printable(os.fsdecode(problem.filename))}: {why}; -vv shows where."


def _open_stdout() -> None:
    """Write UTF-8 to pipes and the terminal's own encoding to terminals; ignore a closed stdout."""
    if sys.stdout is None:  # as `>&-` leaves it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding = None if sys.stdout.isatty() else "utf-8"
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mkt-search", prog_name="mkt")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; -vv logs everything.")
def main(verbose: int) -> None:
    """Find and tag photos by any label, including labels the model was never trained on.

    Start with `mkt init`, `mkt index FOLDER` and `mkt search "dog + beach"`. You can also put any
    setting in mkt.toml; `mkt init` creates one.
    """
    _open_stdout()
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(handlers=[StderrHandler()], format="%(message)s")
    for package in ("mkt_search", "indexer", "training"):
        logging.getLogger(package).setLevel(level)
