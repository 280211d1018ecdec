"""`mkt train` and `mkt train stage2`: one command for both stages, and each to be gone on with."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from mkt_search.errors import TrainingError
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import PROMPT, STUDENT, read_meta
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from tests.command_line import mkt
from tests.painted import painted_world
from tests.tiny import tiny_clip
from tests.training.test_cli import changed_lines
from training import stages
from training.runs.history import Epoch, Listener

SECOND = Stage2Config(epochs=2, batch_size=8, lr=1e-2, device="cpu", dtype="float32", workers=0)
Stages = tuple[DataConfig, Stage1Config, Stage2Config]


@pytest.fixture
def both(tmp_path: Path) -> Stages:
    """Settings that train both stages on painted photos: `stages.train(*both, out)`."""
    world = painted_world(tmp_path).but(
        label_table="", text_model=tiny_clip(tmp_path / "clip"), epochs=2
    )
    return world.data, world.config, SECOND


@pytest.fixture
def toml(both: Stages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with painted photos and a mkt.toml that trains both stages; work happens there."""
    data, first, second = both
    lines = ["[data]", *changed_lines(data, tmp_path)]
    lines += ["[stage1]", f'text_model = "{first.text_model}"']
    lines += [*changed_lines(replace(first, text_model=""), tmp_path)]
    lines += ["[stage2]", *changed_lines(second, tmp_path)]
    (tmp_path / "mkt.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_command_trains_the_student_and_tunes_its_prompt(toml: Path) -> None:
    result = mkt("train", "--out", "out")
    assert "stage 1: the student, out.stage1" in result.stderr
    assert "stage 2: its prompt, out" in result.stderr
    epochs = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2", "1/2", "2/2"]
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["mAP", "on", "12", "test", "photos", "before", "tuned", "change"]
    assert lines[1].startswith("unseen labels, cosine") and len(lines) == 9
    assert lines[7].startswith("ZSL, the paper's count")
    assert "use it by `mkt index --model out PHOTOS`" in result.stderr
    assert read_meta(toml / "out.stage1").trained["stage"] == "stage1"
    assert read_meta(toml / "out").trained["stage"] == "stage2"
    assert (toml / "out" / STUDENT).read_bytes() == (toml / "out.stage1" / STUDENT).read_bytes()


def test_the_stages_one_by_one_give_the_same(toml: Path) -> None:
    mkt("train", "--out", "both")
    mkt("train", "stage1", "--out", "first")
    result = mkt("train", "stage2", "--checkpoint", "first", "--out", "second", "--json")
    assert json.loads(result.stdout) == read_meta(toml / "both").results
    for name in (STUDENT, PROMPT):
        assert (toml / "second" / name).read_bytes() == (toml / "both" / name).read_bytes()


@pytest.mark.parametrize("stage", [1, 2])
def test_what_was_stopped_goes_on_in_the_stage_where_it_was(
    both: Stages, tmp_path: Path, stage: int
) -> None:
    def stop(epoch: Epoch) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt

    stopping = [Listener(), Listener()]
    stopping[stage - 1] = Listener(on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        stages.train(*both, tmp_path / "out", listeners=(stopping[0], stopping[1]))
    said: tuple[list[str], list[str]] = ([], [])
    hearing = Listener(say=said[0].append), Listener(say=said[1].append)
    meta = stages.train(*both, tmp_path / "out", listeners=hearing)
    assert "going on after epoch 1 of 2" in said[stage - 1]
    assert (f"stage 1 is done: {tmp_path / 'out.stage1'}" in said[0]) == (stage == 2)
    whole = stages.train(*both, tmp_path / "whole")
    assert meta.files == whole.files and meta.results == whole.results


def test_other_settings_of_stage_1_are_refused_and_restart_takes_them(
    both: Stages, tmp_path: Path
) -> None:
    data, first, second = both
    stages.train(*both, tmp_path / "out")
    other = replace(first, lr=5e-3)
    with pytest.raises(TrainingError, match=r"lr was 0.001 and is now 0.005.*--restart"):
        stages.train(data, other, second, tmp_path / "out")
    meta = stages.train(data, other, second, tmp_path / "out", restart=True)
    assert meta.trained["stage1"]["trained"]["settings"]["lr"] == 5e-3


def test_a_finished_stage_1_of_another_teacher_is_not_taken_for_this_one(
    both: Stages, tmp_path: Path
) -> None:
    data, first, second = both
    clips = [tiny_clip(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    taught = [replace(first, teacher=clip, distill=1.0) for clip in clips]
    stages.train(data, taught[0], second, tmp_path / "out")
    assert stages.is_done(tmp_path / "out.stage1", data, taught[0])
    with pytest.raises(TrainingError, match=r"teacher weights was .*--restart"):
        stages.train(data, taught[1], second, tmp_path / "out")


def test_what_stage_1_would_refuse_is_told_in_the_words_of_mkt_toml(toml: Path) -> None:
    without = {"MKT_STAGE1_TEXT_MODEL": ""}
    refused = mkt("train", "--out", "out", code=1, env=without)
    assert "both stages need a text tower for the labels; set text_model" in refused.stderr


def test_a_library_indexed_with_the_student_is_searched_with_its_tuned_prompt(
    toml: Path,
) -> None:
    mkt("train", "--out", "out")
    mkt("init", ".")
    mkt("index", "photos", "--model", "out.stage1")

    def scores(*more: str) -> list[float]:
        return [hit["score"] for hit in json.loads(mkt("search", "red", "--json", *more).stdout)]

    plain, tuned = scores(), scores("--model", "out")
    assert len(plain) == len(tuned) and plain != tuned
    again = mkt("index", "photos", "--model", "out", "--json")
    assert json.loads(again.stdout)["indexed"] == 0
    assert scores() == tuned


def test_a_label_table_has_no_second_stage(toml: Path, tmp_path: Path) -> None:
    text = (toml / "mkt.toml").read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("text_model"))
    text = text.replace("[stage1]", '[stage1]\nlabel_table = "table.npz"')
    (toml / "mkt.toml").write_text(text)
    refused = mkt("train", "--out", "out", code=1)
    assert "only `mkt train stage1` is possible" in refused.stderr
    assert not (toml / "out.stage1").exists()
    mkt("train", "stage1", "--out", "first")
    again = mkt("train", "stage2", "--checkpoint", "first", "--out", "out", code=1)
    assert "first looks its labels up in a table" in again.stderr


def test_what_stands_at_out_is_refused_before_the_first_stage(toml: Path) -> None:
    (toml / "out").mkdir()
    (toml / "out/novel.txt").write_text("Call me")
    assert "exists and is no checkpoint" in mkt("train", "--out", "out", code=1).stderr
    assert not (toml / "out.stage1").exists()


def test_options_have_their_place(toml: Path) -> None:
    assert "Missing option '--out'" in mkt("train", "--restart", code=2).stderr
    misplaced = mkt("train", "--out", "out", "stage1", code=2)
    assert "Give --out after stage1: mkt train stage1 --out" in misplaced.stderr
    assert "--checkpoint" in mkt("train", "stage2", "--out", "out", code=2).stderr
    text = mkt("train", "stage2", "--help").stdout
    for item in (*fields(DataConfig), *fields(Stage2Config)):
        assert "--" + item.name.replace("_", "-") in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--checkpoint", "nowhere"],
            "there is no checkpoint at nowhere; name the directory",
        ),
        (["--checkpoint", "out.stage1", "--photos", "none"], "there is no folder none"),
        (["--checkpoint", "out.stage1", "--device", "gpu9"], 'unknown device "gpu9"'),
        (
            ["--checkpoint", "out.stage1", "--unseen-fraction", "0.5"],
            "that would count as unseen here",
        ),
        (["--checkpoint", "out.stage1", "--out", "out.stage1"], "would be replaced"),
    ],
)
def test_a_mistake_is_one_sentence(toml: Path, arguments: list[str], sentence: str) -> None:
    mkt("train", "stage1", "--out", "out.stage1", "--epochs", "0")
    result = mkt("train", "stage2", "--out", "out", *arguments, code=1)
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert not (toml / "out").exists()


def test_flags_and_the_environment_reach_stage_2(toml: Path) -> None:
    mkt("train", "stage1", "--out", "first", "--epochs", "0")
    arguments: list[Any] = ["--checkpoint", "first", "--out", "out", "--epochs", "1"]
    mkt("train", "stage2", *arguments, env={"MKT_STAGE2_LR": "0.25"})
    story = read_meta(toml / "out").trained
    assert story["settings"]["lr"] == 0.25 and len(story["epochs"]) == 1
    assert open_model(toml / "out").label_encoder().encode(["red"]).shape == (1, 16)
