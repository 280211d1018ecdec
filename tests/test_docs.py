"""Documents that cannot drift: README, mkt.toml, CHANGELOG and every --help."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mkt_search.cli import main
from mkt_search.settings import config

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?:sh|bash|console|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(mkt [^`\n]+)`")


def commands(group: click.Group = main, above: str = "mkt") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{above} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")


ALL = dict(commands())
OPTIONS = [
    pytest.param(name, option, id=f"{name} {option.opts[0]}")
    for name, command in ALL.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def named_in(document: Path) -> Iterator[str]:
    """Every `mkt ...` call a document shows, one line each."""
    text = document.read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.findall(r"(?:^|[|&;]\s*|\$ )(mkt [^|&;]*)", line)
    yield from INLINE.findall(FENCE.sub("", text))


CALLS = [
    pytest.param(call, id=f"{document.name}: {call}")
    for document in DOCUMENTS
    for call in named_in(document)
]


@pytest.mark.parametrize("call", CALLS)
def test_command_that_a_document_shows_is_there_with_its_options(call: str) -> None:
    words = shlex.split(call, comments=True)
    command: click.Command = main
    while isinstance(command, click.Group) and len(words) > 1 and not words[1].startswith("-"):
        found = command.get_command(click.Context(command), words[1])
        assert found is not None, f"{call}: there is no command {words[1]}"
        command, words = found, words[1:]
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    flags = {word.split("=")[0] for word in words if re.match(r"--?[a-z0]", word)}
    assert flags <= known | {"--help", "-h"}, f"{call}: unknown {sorted(flags - known)}"


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself(name: str) -> None:
    text = (ALL[name].help or "").strip()
    assert text, f"{name} has no help"
    assert text.split("\n")[0].endswith((".", ":")), f"{name}: the first line is a sentence"


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_option_has_help_with_its_default(name: str, option: click.Option) -> None:
    assert option.help, f"{name} {option.opts[0]} has no help"
    context = click.Context(ALL[name])
    record, default = option.get_help_record(context), option.get_default(context)
    assert record is not None
    if default and isinstance(default, str | int | float | tuple):  # else it is plainly absent
        assert "default: " in record[1], f"{name} {option.opts[0]}: {record[1]}"


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_option_of_a_setting_says_what_the_setting_says(name: str, option: click.Option) -> None:
    named = re.search(r"mkt\.toml: (\w+\.\w+)\]", option.help or "")
    if named is not None:
        assert option.help == config.find_setting(named[1]).help


def test_every_key_of_mkt_toml_is_a_setting() -> None:
    written = tomllib.loads((ROOT / "mkt.toml").read_text())
    known = {item.name for item in config.settings()}
    assert {f"{section}.{key}" for section in written for key in written[section]} <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_settings_that_a_document_names_are_there(document: Path) -> None:
    known = {item.name for item in config.settings()}
    for section, key in re.findall(r"`(\w+)\.(\w+)`", document.read_text(encoding="utf-8")):
        if section in config.SECTIONS and key not in ("toml", "py", "id"):  # files
            assert f"{section}.{key}" in known, f"{document.name}: `{section}.{key}`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_changelog_names_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_figures_are_those_that_the_benchmarks_saved() -> None:
    check = [sys.executable, ROOT / "scripts" / "benchmark_tables", "--check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
