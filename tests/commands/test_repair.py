"""`mkt repair`: words and exit codes."""

import re
from pathlib import Path

import pytest

from mkt_search.commands.repair import sentences
from mkt_search.types import RepairSummary
from tests.command_line import mkt
from tests.tiny import COLOURS, colour_checkpoint, paint, tiny_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "tiny")
    colour_checkpoint(folder / "colour")
    return folder


@pytest.fixture
def home(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an indexed library."""
    for name in COLOURS:
        paint(tmp_path / "photos" / f"{name}.png", name)
    mkt("init", tmp_path)
    monkeypatch.chdir(tmp_path)
    mkt("index", "photos", "--model", models / "tiny")
    return tmp_path


def test_repair_encodes_again_what_verify_found(home: Path) -> None:
    assert mkt("repair").stderr == "nothing to repair: every photo has its vectors.\n"
    (segment,) = (home / ".mkt" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    assert mkt("verify", code=1).output
    lines = mkt("repair").stderr.splitlines()
    assert re.fullmatch(r"encoded 8 photos again in .* s; removed 1 damaged segment\.", lines[0])
    mkt("verify")


def test_repair_refuses_another_model(home: Path, models: Path) -> None:
    next((home / ".mkt" / "segments").iterdir()).unlink()
    result = mkt("repair", "--model", models / "colour", code=1)
    assert "name the first with --model" in result.stderr
    mkt("repair")
    mkt("verify")


def test_a_summary_with_everything_in_it() -> None:
    summary = RepairSummary(True, segments=2, encoded=10, failed=1, missing=2, away=3, seconds=8)
    assert list(sentences(summary)) == [
        "the candidate index was damaged and has been rebuilt.",
        "encoded 10 photos again in 8 s; removed 2 damaged segments.",
        "1 photo can no longer be read: `mkt status --failed`.",
        "marked missing: 2 photos; `mkt prune` removes them from the library.",
        "3 photos are in folders that do not exist now; run `mkt repair` again when their disk is"
        " back.",
    ]
