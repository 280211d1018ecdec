"""Files and locks of a run: errors say how to continue it."""

import os
from pathlib import Path

import pytest

from mkt_search.errors import TrainingError
from training.runs.files import hold, save


def test_a_failed_write_says_how_to_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "state.pt", "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"state\.pt cannot be written: No space.*same command"):
        save(tmp_path / "state.pt", b"new")
    assert (tmp_path / "state.pt").read_text() == "old"


def test_two_processes_cannot_train_in_one_folder(tmp_path: Path) -> None:
    sentence = rf"`mkt train` \(pid {os.getpid()} on .* is training in .*another --out"
    with hold(tmp_path / "out.run"):
        with pytest.raises(TrainingError, match=sentence), hold(tmp_path / "out.run"):
            pass
