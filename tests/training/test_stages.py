"""Both stages in one call: they resume where they were stopped, and share one set of settings."""

from dataclasses import replace
from pathlib import Path

import pytest

from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from mkt_search.progress import Progress
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from tests.painted import painted_world
from tests.tiny import other_image_tower, tiny_clip
from tests.training.test_stage1 import remarks
from training import stages
from training.runs.history import Epoch

SECOND = Stage2Config(epochs=2, batch_size=8, lr=1e-2, device="cpu", dtype="float32", workers=0)
Stages = tuple[DataConfig, Stage1Config, Stage2Config]


@pytest.fixture
def both(tmp_path: Path) -> Stages:
    """Settings that train both stages on painted photos: `stages.train(*both, out)`."""
    world = painted_world(tmp_path).but(
        label_table="", text_model=tiny_clip(tmp_path / "clip"), epochs=2
    )
    return world.data, world.config, SECOND


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_a_stopped_run_continues_in_its_stage(both: Stages, tmp_path: Path, stage: int) -> None:
    epochs: list[Epoch] = []

    def stop(epoch: Epoch) -> None:
        epochs.append(epoch)
        if len(epochs) == 2 * stage - 1:  # after the first epoch of the stage
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.train(*both, tmp_path / "out", on_epoch=stop)
    events: list[Progress] = []
    meta = stages.train(*both, tmp_path / "out", progress=events.append)
    assert Progress(f"stage {stage}", message="continuing after epoch 1 of 2") in events
    assert (f"stage 1 is done: {tmp_path / 'out.stage1'}" in remarks(events)) == (stage == 2)
    whole = stages.train(*both, tmp_path / "whole")
    assert meta.files == whole.files and meta.results == whole.results


@pytest.mark.slow
def test_other_settings_of_stage_1_are_refused_unless_restarted(
    both: Stages, tmp_path: Path
) -> None:
    data, first, second = both
    stages.train(*both, tmp_path / "out")
    other = replace(first, lr=5e-3)
    with pytest.raises(TrainingError, match=r"lr was 0.001 and is now 0.005.*--restart"):
        stages.train(data, other, second, tmp_path / "out")
    meta = stages.train(data, other, second, tmp_path / "out", restart=True)
    assert meta.trained["stage1"]["trained"]["settings"]["lr"] == 5e-3


@pytest.mark.slow
def test_a_finished_stage_1_counts_only_with_the_same_teacher(both: Stages, tmp_path: Path) -> None:
    data, first, second = both
    clips = [first.text_model, other_image_tower(first.text_model, tmp_path / "o.safetensors")]
    configs = [replace(first, teacher=clip, distill=1.0) for clip in clips]
    stages.train(data, configs[0], second, tmp_path / "out")
    assert stages.is_finished(tmp_path / "out.stage1", data, configs[0])
    assert not stages.is_finished(tmp_path / "out.stage1", data, configs[1])
    with pytest.raises(TrainingError, match=r"teacher weights was .*--restart"):
        stages.train(data, configs[1], second, tmp_path / "out")


def test_a_label_table_makes_stage_1_all(tmp_path: Path) -> None:
    world = painted_world(tmp_path).but(epochs=0)
    events: list[Progress] = []
    meta = stages.train(*world, SECOND, tmp_path / "out", progress=events.append)
    assert meta.trained["stage"] == "stage1" and not (tmp_path / "out.stage1").exists()
    assert "a label table has no prompt to tune: stage 1 only" in remarks(events)


@pytest.mark.parametrize("second", [replace(SECOND, lr=0.0), SECOND])
def test_what_would_stop_stage_2_is_refused_before_stage_1(
    both: Stages, tmp_path: Path, second: Stage2Config
) -> None:
    (tmp_path / "out").mkdir()
    if second == SECOND:
        (tmp_path / "out/novel.txt").write_text("Call me")
    with pytest.raises(TrainingError, match=r"--lr is 0|exists and is not a checkpoint"):
        stages.train(both[0], both[1], second, tmp_path / "out")
    assert not checkpoint.is_checkpoint(tmp_path / "out.stage1")
