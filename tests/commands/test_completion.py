"""`mkt completion`: the script of a shell; what it completes was tried in bash and fish."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import mkt
from tests.test_light_import import HEAVY, LOADED

ASK_BASH = """
eval "$(mkt completion bash)"
complete -p mkt
ask() {
    COMPREPLY=(); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _mkt_completion mkt; echo "${COMPREPLY[*]}"
}
ask mkt se
ask mkt index --poo
ask mkt index --pooling ""
"""


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which `mkt` is on PATH."""
    code = "from mkt_search.cli import main; main(prog_name='mkt')"
    (tmp_path / "mkt").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    (tmp_path / "mkt").chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_options_and_choices(shell: dict[str, str]) -> None:
    done = subprocess.run(["bash", "-c", ASK_BASH], env=shell, capture_output=True, text=True)
    registered, commands, options, choices = done.stdout.splitlines()
    assert registered.endswith("-F _mkt_completion mkt")
    assert commands.split() == ["search", "serve"]
    assert options.split() == ["--pooling"]
    assert choices.split() == ["cover", "topk", "all"]
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_commands_with_their_help(shell: dict[str, str]) -> None:
    ask = "mkt completion fish | source; complete -C 'mkt se'"
    done = subprocess.run(["fish", "-c", ask], env=shell, capture_output=True, text=True)
    words = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert words == ["search", "serve"] and "\tShow the library" in done.stdout


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_mkt(name: str) -> None:
    assert f"_MKT_COMPLETE={name}_complete" in mkt("completion", name).stdout


def test_another_shell_is_refused_with_those_that_are_known() -> None:
    assert "'bash', 'zsh', 'fish'" in mkt("completion", "tcsh", code=2).stderr


def test_completing_loads_nothing_heavy() -> None:
    """A person waits for it at every press of the tab key."""
    words = {"_MKT_COMPLETE": "bash_complete", "COMP_WORDS": "mkt ", "COMP_CWORD": "1"}
    code = f"""
try:
    from mkt_search.cli import main
    main(prog_name="mkt")
finally:
    {LOADED}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **words}, capture_output=True, text=True
    )
    assert "plain,index" in done.stdout
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())
