"""The calibrator of a checkpoint is fitted on labels that had no part in the training."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mkt_search import Library
from mkt_search.calibration import file as calibrators
from mkt_search.calibration import fit
from mkt_search.errors import CalibrationError
from mkt_search.models.label_table import LabelTable
from mkt_search.progress import Progress
from mkt_search.settings.config import Stage2Config
from tests.painted import NAMES, World, painted_task, painted_world
from tests.tiny import colour_table, tiny_clip
from tests.training.test_stage1 import remarks
from training import stage1, stages
from training.learning import held_out
from training.learning.teacher_anchor import fold_tasks
from training.runs.history import Epoch

SHADES = 4


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Painted photos with several names of each colour, enough of both to calibrate on."""
    folder = tmp_path_factory.mktemp("painted")
    world = painted_world(folder, photos=380).but(epochs=2, batch_size=32)
    shown = json.loads((folder / "labels.json").read_text())
    named = {name: [f"{c} {n}" for c in own for n in range(SHADES)] for name, own in shown.items()}
    (folder / "labels.json").write_text(json.dumps(named))
    colours = colour_table()
    names = tuple(f"{colour} {n}" for colour in NAMES for n in range(SHADES))
    vectors = colours.encode(NAMES).repeat(SHADES, axis=0)
    LabelTable(names, vectors).save(folder / "table.npz")
    return world


@pytest.fixture
def world(painted: World) -> World:
    """The same, with the features of the photos computed once for all tests."""
    return painted.but(cache=str(Path(painted.data.photos).parent / "features"))


def calibrator(out: Path) -> bytes:
    return (out / calibrators.FILE).read_bytes()


def stopping_after(number: int) -> Callable[[Epoch], None]:
    def stop(epoch: Epoch) -> None:
        if epoch.number == number:
            raise KeyboardInterrupt

    return stop


def test_a_finished_checkpoint_has_a_calibrator_that_a_library_takes(
    world: World, tmp_path: Path
) -> None:
    events: list[Progress] = []
    meta = stage1.train(*world, tmp_path / "out", progress=events.append)
    found = calibrators.load(tmp_path / "out" / calibrators.FILE)
    assert set(found.labels) <= set(meta.trained["seen"])
    assert any("held out from 2 students of folds" in said for said in remarks(events))
    with Library.create(tmp_path / "library") as library:
        library.index(world.data.photos, model=tmp_path / "out")
        used = library.calibrator()
        assert used is not None and used.stamp == found.stamp
        assert all(hit.p is not None for hit in library.search("red 0"))


def test_a_run_that_was_stopped_ends_with_the_same_calibrator(world: World, tmp_path: Path) -> None:
    stage1.train(*world, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stage1.train(*world, tmp_path / "stopped", on_epoch=stopping_after(1))
    assert not (tmp_path / "stopped" / calibrators.FILE).exists()
    events: list[Progress] = []
    stage1.train(*world, tmp_path / "stopped", progress=events.append)
    assert not any("training on parts of the labels" in said for said in remarks(events))
    assert calibrator(tmp_path / "stopped") == calibrator(tmp_path / "whole")


@pytest.mark.slow
def test_what_folds_hold_out_is_made_again_if_it_is_damaged(world: World, tmp_path: Path) -> None:
    stage1.train(*world, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        stage1.train(*world, tmp_path / "stopped", on_epoch=stopping_after(1))
    (tmp_path / "stopped.run" / held_out.FILE).write_bytes(b"damaged")
    stage1.train(*world, tmp_path / "stopped")
    assert calibrator(tmp_path / "stopped") == calibrator(tmp_path / "whole")


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"frozen": "1", "flip": True}])
def test_every_kind_of_training_gives_a_calibrator(
    world: World, tmp_path: Path, changes: dict[str, object]
) -> None:
    stage1.train(*world.but(**changes), tmp_path / "out")
    assert calibrators.load(tmp_path / "out" / calibrators.FILE).labels


def test_too_few_labels_or_photos_are_a_sentence_and_no_calibrator(tmp_path: Path) -> None:
    events: list[Progress] = []
    stage1.train(*painted_world(tmp_path), tmp_path / "out", progress=events.append)
    assert not (tmp_path / "out" / calibrators.FILE).exists()
    [said] = [said for said in remarks(events) if said.startswith("no calibrator")]
    assert "too few" in said


@pytest.mark.slow
def test_a_tuned_prompt_has_a_calibrator_of_its_own(world: World, tmp_path: Path) -> None:
    clip = tiny_clip(tmp_path / "clip")
    changed = world.but(label_table="", text_model=clip)

    second = Stage2Config(epochs=1, workers=0, device="cpu", dtype="float32")
    stages.train(*changed, second, tmp_path / "out")
    first = calibrators.load(tmp_path / "out.stage1" / calibrators.FILE)
    tuned = calibrators.load(tmp_path / "out" / calibrators.FILE)
    assert tuned.stamp.checkpoint == first.stamp.checkpoint
    assert tuned.stamp.label_encoder != first.stamp.label_encoder
    assert tuned.reference.vectors.shape == first.reference.vectors.shape


def test_folds_that_hold_too_little_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="too few"):
        held_out.check_folds(list(fold_tasks(painted_task(tmp_path), seed=0)))


def test_what_is_held_out_of_another_run_is_not_taken(tmp_path: Path) -> None:
    labeled = fit.Labeled(
        np.ones((2, 3, 4), np.float32), np.ones((2, 2), np.int64), np.ones((2, 2), np.int8)
    )
    held_out.write(tmp_path / "file", "key", [held_out.HeldOut(labeled, ("cat", "dog"), 1)])
    [found] = held_out.read(tmp_path / "file", "key")
    assert found.labeled.vectors.shape == (2, 3, 4)
    both = found.with_vectors(lambda labels: np.ones((len(labels), 4), np.float32))
    assert both.part.labels == ("cat", "dog") and set(both.held_out) == {"dog"}
    assert held_out.read(tmp_path / "file", "other") == []
    assert held_out.read(tmp_path / "none", "key") == []


def test_a_run_is_known_by_its_settings_and_choices() -> None:
    trained = {"settings": {"lr": 0.1, "labels": ["a"]}, "anchor": None, "streams": None}
    again = json.loads(json.dumps({**trained, "epochs": []}))
    assert held_out.key_of(trained) == held_out.key_of(again)
    assert held_out.key_of({**trained, "anchor": {"weight": 0.5}}) != held_out.key_of(trained)
