"""Where a run may work, and what it says when it cannot go on."""

from pathlib import Path

import pytest

from mkt_search.errors import TrainingError
from tests.tiny import tiny_checkpoint
from training.runs.state import Run, beside, open_run, require_place, spoiled


@pytest.mark.parametrize("place", [".", "/", "a/.."])
def test_a_place_without_a_name_is_no_checkpoint(place: str) -> None:
    with pytest.raises(TrainingError, match=r"is no name for a new folder\. Give another --out"):
        beside(Path(place), ".run")


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert require_place(tmp_path / "out", restart=False) == tmp_path / "out.run"
    (tmp_path / "out/novel.txt").write_text("Call me")
    with pytest.raises(TrainingError, match="exists and is no checkpoint"):
        require_place(tmp_path / "out", restart=True)


def test_opening_a_run_anew_forgets_nothing_yet(tmp_path: Path) -> None:
    out = tiny_checkpoint(tmp_path / "out")
    run = Run(out, {"lr": 1})
    run.folder.mkdir()
    run.save([{"number": 1}], {})
    assert open_run(out, {"lr": 2}, restart=True).is_started
    assert run.load() == ([{"number": 1}], {})


@pytest.mark.parametrize(
    ("epoch", "sentence"),
    [
        (1, "after epoch 1; nothing was written. Lower --lr, or set --clip-grad."),
        (3, r"epoch 2 is kept in .*out\.run\. Lower --lr, or .*, and start anew with --restart\."),
    ],
)
def test_weights_that_are_no_numbers_are_told_with_what_is_kept(
    tmp_path: Path, epoch: int, sentence: str
) -> None:
    with pytest.raises(TrainingError, match=sentence):
        raise spoiled(Run(tmp_path / "out", {}), epoch=epoch)
