"""Where the results of an evaluation go."""

import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mkt_search.commands.evaluation_output import (
    STDOUT,
    Output,
    output_options,
    show_evaluations,
    write_json,
)
from mkt_search.errors import EvaluationError
from mkt_search.evaluation.record import evaluations_of
from mkt_search.evaluation.report import Report
from tests.evaluation.test_calibration_report import made as made_calibration
from tests.evaluation.test_report import made

NOWHERE = Output(retrieval=False, json_file=None, markdown=None, html=None, plots=None)


def as_json(report: Report) -> Any:
    """Return a report as it is after a round trip through JSON."""
    return json.loads(json.dumps(report.as_dict()))


def test_options_become_the_output() -> None:
    taken: list[Output] = []

    @click.command()
    @output_options
    def command(**given: Any) -> None:
        taken.append(Output.take(given))
        assert not given

    CliRunner().invoke(command, ["--retrieval", "--json", "-", "--html", "e.html"])
    assert taken == [replace(NOWHERE, retrieval=True, json_file=STDOUT, html=Path("e.html"))]


def test_a_missing_folder_is_an_error_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"cannot write .*e\.md: there is no folder"):
        replace(NOWHERE, markdown=tmp_path / "no" / "e.md").check()
    replace(NOWHERE, markdown=tmp_path / "e.md", json_file=STDOUT).check()


def test_plots_need_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EvaluationError, match="pip install"):
        replace(NOWHERE, plots=tmp_path / "plots").check()
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(("retrieval", "rows"), [(False, 7), (True, 26)])
def test_a_table_is_printed(retrieval: bool, rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    replace(NOWHERE, retrieval=retrieval).write(made())
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == rows
    assert captured.err == made().summary() + "\n"


def test_json_on_stdout_replaces_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    replace(NOWHERE, json_file=STDOUT).write(made())
    assert json.loads(capsys.readouterr().out) == as_json(made())


def test_files_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replace(NOWHERE, json_file=tmp_path / "e.json", markdown=tmp_path / "e.md").write(made())
    assert json.loads((tmp_path / "e.json").read_text()) == as_json(made())
    assert (tmp_path / "e.md").read_text() == made().markdown()
    assert f"wrote {tmp_path / 'e.md'}\n" in capsys.readouterr().err


def test_json_ends_with_a_line_break(tmp_path: Path) -> None:
    write_json(["ü"], tmp_path / "e.json")
    assert (tmp_path / "e.json").read_text(encoding="utf-8") == '[\n  "ü"\n]\n'


def test_kept_evaluations_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    kept = replace(evaluations_of(made())[0], run=3, created_at=datetime(2024, 5, 17, 8, 9))
    show_evaluations([kept], None)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], *row[2:5]) for row in rows] == [
        ("3", "home/photos", "student", "16"),
        ("3", "home/photos", "student, plain template", "16"),
    ]
    show_evaluations([kept], STDOUT)
    (data,) = json.loads(capsys.readouterr().out)
    assert (data["run"], data["created_at"]) == (3, "2024-05-17T08:09:00")


def test_no_evaluation_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluations([], None)
    assert "No evaluation yet. Run `mkt evaluate" in capsys.readouterr().err


def test_probabilities_go_to_the_same_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    to = replace(
        NOWHERE,
        json_file=tmp_path / "e.json",
        markdown=tmp_path / "e.md",
        html=tmp_path / "e.html",
        plots=tmp_path / "plots",
    )
    to.check()
    to.write_calibration(made_calibration())
    assert "one threshold" in capsys.readouterr().out
    assert json.loads((tmp_path / "e.json").read_text())["models"]
    assert "one threshold" in (tmp_path / "e.md").read_text()
    assert "data:image/png" in (tmp_path / "e.html").read_text()
    assert (tmp_path / "plots" / "reliability.png").is_file()
