"""`mkt man`: every command and option is on the page, and no text is taken for a macro."""

import re
import shutil
import subprocess

import click
import pytest

from mkt_search.cli import COMMANDS, main
from mkt_search.commands.man import ManFormatter
from tests.command_line import mkt


@pytest.fixture(scope="module")
def page() -> str:
    return mkt("man").stdout


def test_every_command_has_a_section_with_its_options(page: str) -> None:
    headings = re.findall(r"^\.SH (.+)$", page, re.MULTILINE)
    assert headings[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
    assert {f"MKT {name.upper()}".replace("-", "\\-") for name in COMMANDS} <= set(headings)
    assert "MKT EVALUATE ANN" in headings and "MKT TRAIN STAGE1" in headings
    context = click.Context(main)
    search = main.get_command(context, "search")
    assert search is not None
    for option in (one for one in search.params if isinstance(one, click.Option)):
        assert option.opts[0].replace("-", "\\-") in page


def test_examples_keep_their_lines(page: str) -> None:
    assert ".nf\nExamples:\n  mkt serve \\-\\-open\n" in page


def test_what_looks_like_a_macro_is_text() -> None:
    formatter = ManFormatter()
    formatter.write_text(".mktignore names it's back\\slash and `code`.\n\n'quoted'\n\n\b\n.a\n 'b")
    assert formatter.getvalue() == (
        ".PP\n\\&.mktignore names it\\(aqs back\\eslash and \\fBcode\\fR.\n"
        ".PP\n\\(aqquoted\\(aq\n.PP\n.nf\n\\&.a\n \\(aqb\n.fi\n"
    )


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_remark(page: str) -> None:
    command = ["groff", "-man", "-ww", "-Kutf8", "-Tutf8"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, encoding="utf-8")
    assert done.stderr == "" and "Find and tag photos" in done.stdout
