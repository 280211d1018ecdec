"""`mkt train stage1` from the command line: settings, talk on stderr, results on stdout."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mkt_search.models.checkpoint import read_meta
from mkt_search.process import GNU_SPIN_COUNT, LLVM_SPIN_MS
from mkt_search.settings.config import DataConfig, Stage1Config
from tests.command_line import mkt
from tests.painted import painted_world
from tests.tiny import tiny_clip


def changed_lines(settings: Any, beside: Path) -> Iterator[str]:
    """What mkt.toml says of settings that are not the defaults; paths as seen from beside it."""
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.metadata["rule"].is_path and value:
            value = str(Path(value).relative_to(beside))
        if value != item.default:
            yield f"{item.name} = {json.dumps(value)}"


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with painted photos and a mkt.toml that trains on them; work happens there."""
    world = painted_world(tmp_path)
    lines = []
    for section, settings in {"data": world.data, "stage1": world.config}.items():
        lines.append(f"[{section}]")
        lines += changed_lines(settings, tmp_path)
    (tmp_path / "mkt.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_training_tells_every_epoch_and_prints_the_results(toml: Path) -> None:
    result = mkt("train", "stage1", "--out", "out")
    epochs = [line for line in result.stderr.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 3 and epochs[0].startswith("epoch 1/3  loss ")
    assert all("ZSL mAP" in line and "GZSL mAP" in line and "rank" in line for line in epochs)
    assert "29 photos to learn from, 7 to validate on (held-out), 12 to test" in result.stderr
    assert "features of 48 of 48 photos" in result.stderr
    assert "mkt index --model out" in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["mAP", "on", "12", "test", "photos", "global", "local", "fused"]
    assert lines[1].startswith("unseen labels, cosine") and len(lines) == 7
    assert read_meta(toml / "out").trained["is_finished"]


def test_results_as_json_are_those_of_the_checkpoint(toml: Path) -> None:
    result = mkt("train", "stage1", "--out", "out", "--epochs", "0", "--json")
    assert json.loads(result.stdout) == read_meta(toml / "out").results


def test_a_teacher_is_named_by_flags_and_its_loss_is_told(toml: Path) -> None:
    clip = tiny_clip(toml / "clip")
    labels = ["--label-table", "", "--text-model", clip]
    teacher = ["--teacher", clip, "--distill", "1", "--distill-on", "unit", "--epochs", "1"]
    result = mkt("train", "stage1", "--out", "out", *labels, *teacher)
    assert "distill 0." in result.stderr
    assert read_meta(toml / "out").trained["teacher"]["model"] == clip


def test_flags_win_over_the_file(toml: Path) -> None:
    arguments = ["--epochs", "1", "--no-flip", "--mean", "0.1", "0.2", "0.3", "--heads", "shared"]
    mkt("train", "stage1", "--out", "out", *arguments, env={"MKT_STAGE1_LR": "0.25"})
    meta = read_meta(toml / "out")
    assert meta.image.mean == (0.1, 0.2, 0.3) and meta.heads == "shared"
    assert meta.trained["settings"]["lr"] == 0.25 and len(meta.trained["epochs"]) == 1


def test_backbone_arguments_are_given_one_by_one(toml: Path) -> None:
    more = ["img_size=32", "patch_size=16", "embed_dim=8", "depth=1", "num_heads=1"]
    flags = [word for one in more for word in ("--backbone-arg", one)]
    mkt("train", "stage1", "--out", "out", "--epochs", "0", *flags)
    assert read_meta(toml / "out").grid == (2, 2)


def test_the_same_command_again_goes_on_and_another_is_refused(toml: Path) -> None:
    mkt("train", "stage1", "--out", "out")
    assert "going on after epoch 3 of 3" in mkt("train", "stage1", "--out", "out").stderr
    refused = mkt("train", "stage1", "--out", "out", "--lr", "0.5", code=1)
    assert "Error: " in refused.stderr and "lr was 0.001 and is now 0.5" in refused.stderr
    mkt("train", "stage1", "--out", "out", "--lr", "0.5", "--restart")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--photos", "nowhere"], "there is no folder nowhere. Name the photos' folder"),
        (["--labels", "none.json"], "cannot read none.json: No such file"),
        (["--label-table", "none.npz"], "no label table at none.npz"),
        (["--splits", "none.json"], "cannot read none.json"),
        (["--unseen", "none.txt"], "cannot read none.txt"),
        (["--backbone-weights", "none.safetensors"], "no weights at none.safetensors"),
        (["--backbone", "vit_teeny"], 'no backbone "vit_teeny"'),
        (["--device", "gpu9"], 'unknown device "gpu9"'),
        (["--min-photos", "1000"], "0 of 8 labels can be used"),
        (["--frozen", "9"], "cannot freeze 9 blocks"),
        (["--distill", "1"], "--distill 1 needs a teacher; name one by --teacher"),
        (["--teacher", "ViT-B-16/opanai", "--distill", "1"], 'no pretrained tag "opanai"'),
        (["--frozen", "0", "--randaugment", "rand-9"], '--randaugment is "rand-9"'),
    ],
)
def test_a_mistake_is_one_sentence(toml: Path, arguments: list[str], sentence: str) -> None:
    result = mkt("train", "stage1", "--out", "out", *arguments, code=1)
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert not (toml / "out").exists()


def test_out_is_required_and_help_names_every_setting(toml: Path) -> None:
    assert "--out" in mkt("train", "stage1", code=2).stderr
    text = mkt("train", "stage1", "--help").stdout
    for item in (*fields(DataConfig), *fields(Stage1Config)):
        assert "--" + item.name.replace("_", "-").replace("-args", "-arg") in text


def test_a_dataset_of_another_kind_trains_alike(toml: Path) -> None:
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


OWN_POLICY = {"OMP_WAIT_POLICY": "ACTIVE"}


@pytest.mark.parametrize(
    ("own", "heeded"),
    [({}, f"None {GNU_SPIN_COUNT} {LLVM_SPIN_MS}"), (OWN_POLICY, "ACTIVE None None")],
    ids=["ours", "own"],
)
def test_how_long_idle_threads_spin_is_settled_before_torch_is_loaded_unless_it_is_set(
    toml: Path, own: dict[str, str], heeded: str
) -> None:
    program = """
import os, sys

class Witness:
    def find_spec(self, name, *rest):
        if name == "torch":
            print(*map(os.environ.get, ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")))
            sys.exit()

sys.meta_path.insert(0, Witness())
from mkt_search.cli import main
main(["train", "stage1", "--out", "out"])
"""
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environ = {key: value for key, value in os.environ.items() if key not in names}
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, env=environ | own, cwd=toml, capture_output=True, text=True)
    assert done.stdout == f"{heeded}\n"
