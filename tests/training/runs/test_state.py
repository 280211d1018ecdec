"""The state of a run on disk: what it refuses, and what it replaces."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mkt_search.errors import TrainingError
from tests.tiny import tiny_checkpoint
from training.runs.history import Epoch
from training.runs.state import FORMAT, Run, beside, require_writable

EPOCH = Epoch(1, 3, {"loss": 0.5}, 1e-3, 2.0, {})


def saved(folder: Path, settings: dict[str, Any]) -> Run:
    run = Run(folder / "out", settings)
    run.folder.mkdir()
    run.save([EPOCH], {"weights": {"w": torch.ones(2)}})
    return run


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    saved(tmp_path, {"lr": 1, "mean": [0.5]})
    found = Run(tmp_path / "out", {"lr": 1, "mean": [0.5]}).load()
    assert found.history == [EPOCH]
    assert torch.equal(found.tensors["weights"]["w"], torch.ones(2))
    assert (tmp_path / "out.run/log.jsonl").read_text().count("\n") == 1


def test_other_settings_are_refused_with_the_difference(tmp_path: Path) -> None:
    saved(tmp_path, {"lr": 1, "seed": 0})
    with pytest.raises(TrainingError, match=r"lr was 1 and is now 2 and 1 more\..*--restart"):
        Run(tmp_path / "out", {"lr": 2, "seed": 1}).load()


def test_a_setting_that_is_new_is_a_difference(tmp_path: Path) -> None:
    saved(tmp_path, {"lr": 1})
    with pytest.raises(TrainingError, match=r"ema was None and is now 0\.9"):
        Run(tmp_path / "out", {"lr": 1, "ema": 0.9}).load()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    run = saved(tmp_path, {})
    (run.folder / "state.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"state\.pt cannot be read .*--restart"):
        run.load()


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    run = saved(tmp_path, {})
    state = torch.load(run.folder / "state.pt", weights_only=True)
    torch.save({**state, "format": FORMAT + 1}, run.folder / "state.pt")
    with pytest.raises(TrainingError, match="written by another version"):
        run.load()


def test_a_deleted_state_is_not_started(tmp_path: Path) -> None:
    run = saved(tmp_path, {})
    assert run.is_started
    run.delete_state()
    assert not run.is_started and not list(run.folder.iterdir())


@pytest.mark.parametrize("path", [".", "/", "a/.."])
def test_a_path_without_a_name_cannot_be_a_checkpoint(path: str) -> None:
    with pytest.raises(TrainingError, match=r"does not name a new folder\. Give another --out"):
        beside(Path(path), ".run")


def test_an_empty_folder_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert require_writable(tmp_path / "out", restart=False) == tmp_path / "out.run"
    (tmp_path / "out/novel.txt").write_text("Call me")
    with pytest.raises(TrainingError, match="exists and is not a checkpoint"):
        require_writable(tmp_path / "out", restart=True)


def test_a_checkpoint_is_replaced_by_its_own_run_or_on_request(tmp_path: Path) -> None:
    out = tiny_checkpoint(tmp_path / "out")
    with pytest.raises(TrainingError, match=r"out exists\. .*--restart"):
        require_writable(out, restart=False)
    require_writable(out, restart=True)
    saved(tmp_path, {})
    require_writable(out, restart=False)


@pytest.mark.parametrize(
    ("epoch", "sentence"),
    [
        (1, r"the loss is bad; nothing was written\. Lower --lr, or set --clip-grad\."),
        (3, r"bad; epoch 2 is kept in .*out\.run\. Lower --lr, .* and start over with --restart\."),
    ],
)
def test_a_failure_says_what_is_kept(tmp_path: Path, epoch: int, sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        raise Run(tmp_path / "out", {}).failure(ValueError("the loss is bad"), epoch=epoch)
