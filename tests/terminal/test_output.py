"""Results on stdout: a table for a terminal, columns for a pipe, JSON for programs."""

import io

import pytest

from mkt_search.terminal.output import Column, say, show_json, show_table

COLUMNS_SHOWN = (Column("photos", is_number=True), Column("path"))


class Terminal(io.StringIO):
    """A file that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_columns_separated_by_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_table(COLUMNS_SHOWN, iter([("1", "a.jpg"), ("12", "b\n.jpg")])) == 2
    assert capsys.readouterr().out == "1\ta.jpg\n12\tb\\n.jpg\n"


def test_a_terminal_gets_an_aligned_table_with_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    assert show_table(COLUMNS_SHOWN, [("1", "a[b].jpg"), ("12", "b\x1b.jpg")], file=terminal) == 2
    lines = [line.rstrip() for line in terminal.getvalue().splitlines()]
    assert lines == ["photos  path", "     1  a[b].jpg", "    12  b\\x1b.jpg"]


def test_no_rows_print_nothing() -> None:
    terminal = Terminal()
    assert show_table(COLUMNS_SHOWN, [], file=terminal) == 0
    assert terminal.getvalue() == ""


def test_json_is_indented_utf_8_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"label": "Hündin"})
    assert capsys.readouterr().out == '{\n  "label": "Hündin"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        show_json({"score": float("nan")})


def test_sentences_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("The library is sound.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "The library is sound.\n")
