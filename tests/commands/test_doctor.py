"""`mkt doctor`: a table or JSON, and an exit code."""

import json
from pathlib import Path

import pytest

from mkt_search.doctor import packages
from mkt_search.doctor.packages import Probed
from tests.command_line import columns, mkt


@pytest.fixture(autouse=True)
def _packages_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "probe", lambda modules: Probed({}, "a GPU"))


def test_a_sound_library_has_no_problem(library: Path) -> None:
    result = mkt("doctor", "--library", library)
    rows = {row[0]: row[1:] for row in columns(result)}
    assert rows["GPU"] == ["ok", "a GPU", ""]
    assert rows["library"][:2] == ["ok", str(library / ".mkt")]
    assert result.stderr == "No problem found.\n"


def test_a_problem_is_in_the_exit_code_and_in_json(tmp_path: Path) -> None:
    result = mkt("doctor", "--json", "--library", tmp_path, code=1)
    problems = [one for one in json.loads(result.stdout) if one["state"] == "problem"]
    assert problems == [
        {
            "what": "library",
            "state": "problem",
            "found": f"no library in {tmp_path}. Run `mkt init {tmp_path}` to create one.",
            "fix": "",
        }
    ]
    assert result.stderr == "1 problem found.\n"
