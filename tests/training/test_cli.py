"""`mkt train` from the command line: settings, talk on stderr, results on stdout."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import PROMPT, STUDENT, read_meta
from mkt_search.process import GNU_SPIN_COUNT, LLVM_SPIN_MS
from mkt_search.settings import config
from mkt_search.settings.config import Stage2Config
from tests.command_line import mkt
from tests.painted import painted_world, write_settings
from tests.tiny import tiny_clip

SECOND = Stage2Config(epochs=2, batch_size=8, lr=1e-2, device="cpu", dtype="float32", workers=0)


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with painted photos and a mkt.toml that trains stage 1 on them."""
    world = painted_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return write_settings(tmp_path, data=world.data, stage1=world.config)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with painted photos and a mkt.toml that trains both stages on them."""
    world = painted_world(tmp_path).but(
        label_table="", text_model=tiny_clip(tmp_path / "clip"), epochs=2
    )
    monkeypatch.chdir(tmp_path)
    return write_settings(tmp_path, data=world.data, stage1=world.config, stage2=SECOND)


# stage 1


def test_stage_1_shows_every_epoch_and_prints_the_results(toml: Path) -> None:
    result = mkt("train", "stage1", "--out", "out")
    epochs = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 3 and epochs[0].startswith("epoch 1/3  loss ")
    assert all("ZSL mAP" in line and "GZSL mAP" in line and "rank" in line for line in epochs)
    assert "29 training photos, 7 validation photos (held-out), 12 test photos" in result.stderr
    assert "mkt index --model out" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["mAP", "on", "12", "test", "photos", "global", "local", "fused"]
    assert lines[1].startswith("unseen labels, cosine") and len(lines) == 7
    assert read_meta(toml / "out").trained["is_finished"]


def test_results_as_json_are_those_of_the_checkpoint(toml: Path) -> None:
    result = mkt("train", "stage1", "--out", "out", "--epochs", "0", "--json")
    assert json.loads(result.stdout) == read_meta(toml / "out").results


def test_a_teacher_is_named_by_flags_and_its_loss_is_shown(toml: Path) -> None:
    clip = tiny_clip(toml / "clip")
    labels = ["--label-table", "", "--text-model", clip]
    teacher = ["--teacher", clip, "--distill", "1", "--distill-on", "unit", "--epochs", "1"]
    result = mkt("train", "stage1", "--out", "out", *labels, *teacher)
    assert "distill 0." in result.stderr
    assert read_meta(toml / "out").trained["teacher"]["model"] == clip


def test_flags_beat_the_file(toml: Path) -> None:
    arguments = ["--epochs", "1", "--no-flip", "--mean", "0.1", "0.2", "0.3", "--heads", "shared"]
    mkt("train", "stage1", "--out", "out", *arguments, env={"MKT_STAGE1_LR": "0.25"})
    meta = read_meta(toml / "out")
    assert meta.image.mean == (0.1, 0.2, 0.3) and meta.heads == "shared"
    assert meta.trained["settings"]["lr"] == 0.25 and len(meta.trained["epochs"]) == 1


def test_a_recipe_fills_in_what_the_file_does_not_set(toml: Path) -> None:
    recipe = ["--recipe", "finetune", "--frozen", "1", "--epochs", "1"]
    mkt("train", "stage1", "--out", "out", *recipe)
    found = read_meta(toml / "out").trained["settings"]
    assert (found["ema"], found["crop_scale"], found["frozen"]) == (0.99, 0.5, "1")
    assert (found["lr"], found["batch_size"]) == (1e-3, 8)  # from mkt.toml
    assert "recipe" not in found


def test_backbone_arguments_are_given_one_by_one(toml: Path) -> None:
    more = ["img_size=32", "patch_size=16", "embed_dim=8", "depth=1", "num_heads=1"]
    flags = [word for one in more for word in ("--backbone-arg", one)]
    mkt("train", "stage1", "--out", "out", "--epochs", "0", *flags)
    assert read_meta(toml / "out").grid == (2, 2)


def test_the_same_command_continues_and_another_is_refused(toml: Path) -> None:
    mkt("train", "stage1", "--out", "out")
    assert "continuing after epoch 3 of 3" in mkt("train", "stage1", "--out", "out").stderr
    refused = mkt("train", "stage1", "--out", "out", "--lr", "0.5", code=1)
    assert "Error: " in refused.stderr and "lr was 0.001 and is now 0.5" in refused.stderr
    mkt("train", "stage1", "--out", "out", "--lr", "0.5", "--restart", "--epochs", "1")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--photos", "nowhere"], "there is no folder nowhere"),
        (["--labels", "none.json"], "none.json: cannot be read (No such file"),
        (["--label-table", "none.npz"], "no label table at none.npz"),
        (["--splits", "none.json"], "none.json: cannot be read"),
        (["--unseen", "none.txt"], "none.txt: cannot be read"),
        (["--backbone-weights", "none.safetensors"], "no weights at none.safetensors"),
        (["--backbone", "vit_teeny"], 'no backbone "vit_teeny"'),
        (["--device", "gpu9"], 'unknown device "gpu9"'),
        (["--min-photos", "1000"], "0 of 8 labels can be used"),
        (["--frozen", "9"], "cannot freeze 9 blocks"),
        (["--distill", "1"], "--distill 1 needs a teacher; name one by --teacher"),
        (["--teacher", "ViT-B-16/opanai", "--distill", "1"], 'no pretrained tag "opanai"'),
    ],
)
def test_a_mistake_in_stage_1_is_one_sentence(
    toml: Path, arguments: list[str], sentence: str
) -> None:
    result = mkt("train", "stage1", "--out", "out", *arguments, code=1)
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert not (toml / "out").exists()


def test_a_dataset_of_another_kind_trains_the_same(toml: Path) -> None:
    shown = json.loads((toml / "labels.json").read_text())
    names = sorted({label for labels in shown.values() for label in labels})
    instances = {
        "images": [{"id": name, "file_name": name} for name in shown],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [
            {"image_id": name, "category_id": names.index(label)}
            for name, labels in shown.items()
            for label in labels
        ],
    }
    (toml / "instances.json").write_text(json.dumps(instances))
    mkt("train", "stage1", "--out", "folder", "--epochs", "0")
    coco = ["--kind", "coco", "--labels", "instances.json"]
    mkt("train", "stage1", "--out", "coco", "--epochs", "0", *coco)
    assert read_meta(toml / "coco").results == read_meta(toml / "folder").results
    wrong = mkt("train", "stage1", "--out", "x", "--kind", "voc", "--labels", "", code=1)
    assert "photos/ImageSets/Main needs train.txt" in wrong.stderr


# stage 2, and both


@pytest.mark.slow
def test_one_command_trains_the_student_and_tunes_its_prompt(both: Path) -> None:
    result = mkt("train", "--out", "out")
    assert "stage 1, the student: out.stage1" in result.stderr
    assert "stage 2, its prompt: out" in result.stderr
    epochs = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2", "1/2", "2/2"]
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["mAP", "on", "12", "test", "photos", "before", "tuned", "change"]
    assert lines[1].startswith("unseen labels, cosine") and len(lines) == 9
    assert lines[7].startswith("ZSL, the paper's count")
    assert "`mkt index --model out PHOTOS`" in result.stderr
    assert read_meta(both / "out.stage1").trained["stage"] == "stage1"
    assert read_meta(both / "out").trained["stage"] == "stage2"
    assert (both / "out" / STUDENT).read_bytes() == (both / "out.stage1" / STUDENT).read_bytes()


@pytest.mark.slow
def test_the_stages_one_by_one_give_the_same(both: Path) -> None:
    mkt("train", "--out", "both")
    mkt("train", "stage1", "--out", "first")
    result = mkt("train", "stage2", "--checkpoint", "first", "--out", "second", "--json")
    assert json.loads(result.stdout) == read_meta(both / "both").results
    for name in (STUDENT, PROMPT):
        assert (both / "second" / name).read_bytes() == (both / "both" / name).read_bytes()


@pytest.mark.slow
def test_a_library_indexed_with_the_student_is_searched_with_its_tuned_prompt(
    both: Path,
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


def test_a_label_table_has_no_second_stage(toml: Path) -> None:
    result = mkt("train", "--out", "out")
    assert "a label table has no prompt to tune: stage 1 only" in result.stderr
    assert read_meta(toml / "out").trained["stage"] == "stage1"
    again = mkt("train", "stage2", "--checkpoint", "out", "--out", "tuned", code=1)
    assert "out looks its labels up in a table" in again.stderr


def test_flags_and_the_environment_reach_stage_2(both: Path) -> None:
    mkt("train", "stage1", "--out", "first", "--epochs", "0")
    arguments: list[Any] = ["--checkpoint", "first", "--out", "out", "--epochs", "1"]
    mkt("train", "stage2", *arguments, env={"MKT_STAGE2_LR": "0.25"})
    found = read_meta(both / "out").trained
    assert found["settings"]["lr"] == 0.25 and len(found["epochs"]) == 1
    assert open_model(both / "out").label_encoder().encode(["red"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--checkpoint", "nowhere"], "there is no checkpoint at nowhere; name the directory"),
        (["--checkpoint", "first", "--photos", "none"], "there is no folder none"),
        (["--checkpoint", "first", "--device", "gpu9"], 'unknown device "gpu9"'),
        (["--checkpoint", "first", "--unseen-fraction", "0.5"], "that would count as unseen here"),
        (["--checkpoint", "first", "--out", "first"], "would replace the checkpoint first"),
    ],
)
def test_a_mistake_in_stage_2_is_one_sentence(
    both: Path, arguments: list[str], sentence: str
) -> None:
    mkt("train", "stage1", "--out", "first", "--epochs", "0")
    result = mkt("train", "stage2", "--out", "out", *arguments, code=1)
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert not (both / "out").exists()


# options and help


def test_options_belong_to_their_command(toml: Path) -> None:
    assert "Missing option '--out'" in mkt("train", "--restart", code=2).stderr
    misplaced = mkt("train", "--out", "out", "stage1", code=2)
    assert "Give --out after stage1: mkt train stage1 --out" in misplaced.stderr
    assert "--checkpoint" in mkt("train", "stage2", "--out", "out", code=2).stderr
    assert "--out" in mkt("train", "stage1", code=2).stderr


@pytest.mark.parametrize("section", ["stage1", "stage2"])
def test_help_lists_advanced_settings_last(toml: Path, section: str) -> None:
    plain, _, advanced = mkt("train", section, "--help").stdout.partition("Advanced options:")
    for item in config.settings():
        if item.section in ("data", section):
            flag = item.flag.replace("-args", "-arg")
            assert flag in (advanced if item.rule.advanced else plain), item.name


def test_about_fifteen_settings_of_stage_1_are_not_advanced() -> None:
    plain = [s for s in config.settings() if s.section == "stage1" and not s.rule.advanced]
    assert 12 <= len(plain) <= 16
    assert len(plain) < len(fields(config.Stage1Config)) / 2


OWN_POLICY = {"OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.parametrize(
    ("own", "seen"),
    [({}, f"None {GNU_SPIN_COUNT} {LLVM_SPIN_MS}"), (OWN_POLICY, "ACTIVE None None")],
    ids=["ours", "own"],
)
def test_the_spin_time_of_idle_threads_is_set_before_torch_is_loaded(
    toml: Path, own: dict[str, str], seen: str
) -> None:
    program = """
import os, sys

class Finder:
    def find_spec(self, name, *rest):
        if name == "torch":
            print(*map(os.environ.get, ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")))
            sys.exit()

sys.meta_path.insert(0, Finder())
from mkt_search.cli import main
main(["train", "stage1", "--out", "out"])
"""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environ = {key: value for key, value in os.environ.items() if key not in names}
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, env=environ | own, cwd=toml, capture_output=True, text=True)
    assert done.stdout == f"{seen}\n"
