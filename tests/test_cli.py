"""The roof: commands are found, errors become sentences, signals become exit codes."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mkt_search import cli
from mkt_search.cli import COMMANDS, main
from mkt_search.errors import StoreError
from tests.command_line import mkt


@pytest.fixture(autouse=True)
def _levels_as_they_were() -> Iterator[None]:
    names = ("mkt_search", "indexer", "training")
    before = [logging.getLogger(name).level for name in names]
    yield
    for name, level in zip(names, before, strict=True):
        logging.getLogger(name).setLevel(level)


def raising(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    """Make `mkt status` raise."""

    @click.command()
    def broken() -> None:
        raise problem

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: broken)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_a_first_sentence(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert (command.help or "").split("\n")[0].endswith(".")


def test_help_lists_the_commands_by_section_in_the_order_a_newcomer_needs_them() -> None:
    lines = mkt("--help").stdout.split("Commands:\n")[1].splitlines()
    headings = [line for line in lines if line and line[0] != " "]
    assert headings == ["Models:", "Many machines:", "Maintenance:", "This program:"]
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(COMMANDS)


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert mkt("--version").stdout == f"mkt, version {version('mkt-search')}\n"


def test_unknown_command_is_a_usage_error() -> None:
    assert "No such command" in mkt("serch", code=2).stderr


def test_problem_of_ours_is_one_sentence_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, StoreError("the disk is full; free some space."))
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 1
    assert result.stderr == "Error: the disk is full; free some space.\n"
    assert result.stdout == ""


def test_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 130
    assert result.stderr == "\ninterrupted\n"


def test_other_problems_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError("a bug"))
    assert isinstance(CliRunner().invoke(main, ["status"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("flags", "level"), [([], "WARNING"), (["-v"], "INFO"), (["-vv"], "DEBUG")]
)
def test_verbose_says_more(library: Path, flags: list[str], level: str) -> None:
    mkt(*flags, "status", "--library", library)
    assert logging.getLevelName(logging.getLogger("mkt_search").level) == level


def test_reader_that_goes_away_is_no_error(library: Path) -> None:
    call = f"{sys.executable} -c 'from mkt_search.cli import main; main()'"
    command = f"set -o pipefail; {call} search red --json --library {library} | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "["
    assert done.stderr == ""


def test_wrong_setting_is_told_with_its_line(library: Path, tmp_path: Path) -> None:
    mkt("init", tmp_path)
    (tmp_path / "mkt.toml").write_text("[index]\nbacth_size = 3\n")
    result = mkt("status", "--library", tmp_path, code=1)
    assert result.stderr == (
        f'Error: {tmp_path}/mkt.toml:2: unknown key "bacth_size" in [index];'
        ' did you mean "batch_size"?\n'
    )


def test_misspelled_command_meets_the_nearest_one() -> None:
    assert 'No such command "serach"; did you mean `mkt search`?' in mkt("serach", code=2).stderr


def test_refusal_of_the_system_is_one_sentence_with_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raising(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "/photos/a\nb.jpg"))
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 1
    assert result.stderr == "Error: /photos/a\\nb.jpg: Permission denied; -vv shows where.\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_stdout_is_one_sentence(library: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run_mkt("status", "--library", str(library), stdout=full)
    assert "Error: reading or writing failed (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_stdout_takes_nothing_and_no_traceback_comes(library: Path) -> None:
    command = f"{sys.executable} -m mkt_search search red --library {library} >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_piped_data_is_utf_8_whatever_the_locale(own_library: Path) -> None:
    (own_library / "photos" / "red.png").rename(own_library / "photos" / "rot \N{DOG FACE}.png")
    mkt("index", "--library", own_library)
    arguments = ("search", "red", "-k", "1", "--library", str(own_library))
    done = run_mkt(*arguments, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert "rot \N{DOG FACE}.png" in done.stdout


def run_mkt(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `mkt` as a process of its own."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "check": False, **options}
    command = [sys.executable, "-m", "mkt_search", *arguments]
    return subprocess.run(command, text=True, encoding="utf-8", **options)
