"""Stage 1 on painted photos: it learns, resumes bit by bit, and records its provenance."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mkt_search.errors import MktError, TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.progress import Progress
from mkt_search.settings.config import DataConfig, Stage1Config
from tests.painted import NAMES, World, no_number_at, painted_task, painted_world
from tests.tiny import tiny_checkpoint, tiny_clip
from training.learning import learner
from training.learning.build import build_student
from training.plans import plan_stage1
from training.runs.history import Epoch
from training.stage1 import train


@pytest.fixture
def world(tmp_path: Path) -> World:
    return painted_world(tmp_path)


def remarks(events: list[Progress]) -> list[str]:
    """The sentences among progress events."""
    return [event.message for event in events if event.message]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / checkpoint.STUDENT)


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


COREL = Path(__file__).parent.parent.parent.parent / "shared/data/corel5k"
MOVING = {"frozen": "1", "flip": True, "crop_scale": 0.5, "heads": "shared", "ema": 0.9}


def test_a_student_learns_seen_labels_and_finds_unseen_ones(
    tmp_path: Path,
) -> None:
    (tmp_path / "unseen.txt").write_text("yellow\ncyan\n")
    world = painted_world(tmp_path, photos=120)
    meta = train(*world.but(unseen=str(tmp_path / "unseen.txt")), tmp_path / "out")
    maps = meta.results["test"]["cosine"]
    assert maps["seen"]["fused"] > 0.6  # chance is 0.25
    assert maps["unseen"]["fused"] > 0.4
    assert set(maps["unseen"]) == {"global", "local", "fused"}
    assert meta.results["test"]["paper"]["GZSL"].keys() >= {"mAP", "F1@3", "F1@5"}


def test_the_checkpoint_records_its_provenance_and_opens_as_a_model(
    world: World, tmp_path: Path
) -> None:
    meta = train(*world, tmp_path / "out")
    found = checkpoint.read_meta(tmp_path / "out").trained
    assert found == meta.trained
    assert found["stage"] == "stage1" and found["is_finished"]
    assert [epoch["number"] for epoch in found["epochs"]] == [1, 2, 3]
    assert sorted([*found["seen"], *found["unseen"]]) == sorted(NAMES)
    assert found["photos"] == {"train": 29, "validation": 7, "test": 12}
    assert found["settings"]["lr"] == world.config.lr
    assert set(found["epochs"][0]["losses"]) == {"loss", "rank", "regression"}
    model = open_model(tmp_path / "out")
    assert model.label_encoder().encode(["red"]).shape == (1, 8)
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    assert model.photo_encoder(device="cpu").encode(pixels).patches.shape == (1, 16, 8)


def test_unseen_labels_never_influence_training(world: World, tmp_path: Path) -> None:
    import json

    meta = train(*world, tmp_path / "whole")
    labels = json.loads(Path(world.data.labels).read_text())
    unseen = set(meta.trained["unseen"])
    for position, name in enumerate(sorted(labels)):  # move the unseen labels to other photos
        own = [label for label in labels[name] if label not in unseen]
        labels[name] = own + ([sorted(unseen)[0]] if position % 3 == 0 else [])
    Path(world.data.labels).write_text(json.dumps(labels))
    unseen_file = tmp_path / "unseen.txt"
    unseen_file.write_text(sorted(unseen)[0])
    train(*world.but(unseen=str(unseen_file)), tmp_path / "moved")
    assert_same_weights(tmp_path / "whole", tmp_path / "moved")


@pytest.mark.parametrize(
    "changes",
    [{}, {"pca_dim": 6, "heads": "shared", "ema": 0.5}, MOVING],
    ids=["frozen", "pca", "moving"],
)
def test_a_stopped_run_ends_with_the_weights_of_an_undisturbed_one(
    world: World, tmp_path: Path, changes: dict[str, Any]
) -> None:
    changed = world.but(**changes)
    train(*changed, tmp_path / "whole")

    def stop(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*changed, tmp_path / "stopped", on_epoch=stop)
    events: list[Progress] = []
    train(*changed, tmp_path / "stopped", progress=events.append)
    assert "continuing after epoch 2 of 3" in remarks(events)
    assert_same_weights(tmp_path / "whole", tmp_path / "stopped")


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.test_stage1 import everything_at_once
from training.learning.learner import Learner
from training.stage1 import train

folder, last = Path(sys.argv[1]), int(sys.argv[2])
steps, step = 0, Learner.step

def step_or_die(self, loss, number):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, loss, number)

Learner.step = step_or_die
train(*everything_at_once(folder), folder / "out")
"""


def everything_at_once(folder: Path) -> World:
    """Blocks that move, a teacher, RandAugment, averaged weights; nine steps in three epochs."""
    clip = tiny_clip(folder / "clip")
    return painted_world(folder).but(
        label_table="",
        text_model=clip,
        teacher=clip,
        distill=1.0,
        backbone="vit_base_patch16_clip_224",
        backbone_args=("patch_size=8", "embed_dim=32", "depth=2", "num_heads=2"),
        backbone_weights="teacher",
        head_init="teacher",
        frozen="1",
        anchor="0.3",
        ema=0.9,
        flip=True,
        crop_scale=0.3,
        randaugment="rand-m9-mstd0.5-inc1",
        weight_decay=0.05,
    )


@pytest.mark.slow
def test_a_process_killed_at_any_step_ends_with_the_same_weights(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    last = random.randrange(4, 10)  # in the second epoch or the third
    world = everything_at_once(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(last)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not checkpoint.read_meta(tmp_path / "out").trained["is_finished"]
    events: list[Progress] = []
    train(*world, tmp_path / "out", progress=events.append)
    assert f"continuing after epoch {(last - 1) // 3} of 3" in remarks(events)
    train(*world, tmp_path / "whole")
    assert_same_weights(tmp_path / "whole", tmp_path / "out")


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    world: World, tmp_path: Path
) -> None:
    changed = world.but(head_init="random", epochs=1)
    train(*changed, tmp_path / "a")
    train(*changed, tmp_path / "b")
    train(*changed.but(seed=1), tmp_path / "c")
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    assert any(
        not torch.equal(x, weights(tmp_path / "c")[n]) for n, x in weights(tmp_path / "a").items()
    )


@pytest.mark.slow
def test_workers_change_nothing(world: World, tmp_path: Path) -> None:
    changed = world.but(frozen="0", crop_scale=0.5, flip=True, head_init="random", epochs=1)
    train(*changed, tmp_path / "none")
    train(*changed.but(workers=2), tmp_path / "two")
    assert_same_weights(tmp_path / "none", tmp_path / "two")


@pytest.mark.parametrize("frozen", ["all", "1", "0"])
def test_only_blocks_that_are_not_frozen_change(world: World, tmp_path: Path, frozen: str) -> None:
    changed = world.but(frozen=frozen, head_init="random", epochs=1)
    spec = plan_stage1(changed.config, cache=tmp_path).backbone
    before = build_student(spec, "linear", dim=8, seed=0).state()
    train(*changed, tmp_path / "out")
    moved = {n for n, t in weights(tmp_path / "out").items() if not torch.equal(t, before[n])}
    assert any(name.startswith("global_head") for name in moved)
    assert any(name.startswith("backbone.blocks.1") for name in moved) == (frozen != "all")
    assert any(name.startswith("backbone.blocks.0") for name in moved) == (frozen == "0")


@pytest.mark.parametrize(("frozen", "views"), [("all", 2), ("1", 1)])
def test_mirrored_photos_are_encoded_only_where_heads_learn_from_features(
    world: World, tmp_path: Path, frozen: str, views: int
) -> None:
    events: list[Progress] = []
    changed = world.but(frozen=frozen, flip=True, epochs=1)
    train(*changed, tmp_path / "out", progress=events.append)
    counts = [(event.done, event.total) for event in events if event.step == "features"]
    assert counts[-1] == (48 * views, 48 * views)


def test_steps_of_an_epoch_are_counted_and_may_stop_the_run(world: World, tmp_path: Path) -> None:
    def stop(event: Progress) -> None:
        if event == Progress("epoch 2 of 3", 2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*world, tmp_path / "out", progress=stop)
    assert len(checkpoint.read_meta(tmp_path / "out").trained["epochs"]) == 1


def test_no_epochs_keep_the_ridge_start(world: World, tmp_path: Path) -> None:
    meta = train(*world.but(epochs=0), tmp_path / "out")
    assert meta.results["test"]["cosine"]["seen"]["fused"] > 0.5 and not meta.trained["epochs"]


def test_a_run_with_other_settings_is_refused(world: World, tmp_path: Path) -> None:
    train(*world, tmp_path / "out")
    with pytest.raises(TrainingError, match=r"lr was 0.001 and is now 0.5.*--restart"):
        train(*world.but(lr=0.5), tmp_path / "out")
    meta = train(*world.but(lr=0.002), tmp_path / "out", restart=True)
    assert meta.trained["settings"]["lr"] == 0.002


def test_a_run_with_other_data_is_refused(world: World, tmp_path: Path) -> None:
    import json

    world = world.but(epochs=1)
    train(*world, tmp_path / "out")
    with pytest.raises(TrainingError, match=r"split_seed was 0 and is now 1.*--restart"):
        train(*world.but(split_seed=1), tmp_path / "out")
    labels = json.loads(Path(world.data.labels).read_text())
    labels["000.png"] = ["red"]
    Path(world.data.labels).write_text(json.dumps(labels))
    with pytest.raises(TrainingError, match=r"data was '\w+' and is now '\w+'.*--restart"):
        train(*world, tmp_path / "out")


def test_other_files_and_checkpoints_are_not_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/novel.txt").write_text("Call me")
    with pytest.raises(TrainingError, match="is not a checkpoint"):
        train(*world, tmp_path / "precious", restart=True)
    older = tiny_checkpoint(tmp_path / "older")
    with pytest.raises(TrainingError, match=r"older exists\..*--restart"):
        train(*world, older)


def test_a_loss_that_is_not_a_number_names_the_batch_and_keeps_the_last_epoch(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "ranking_loss_of", no_number_at(5, learner.ranking_loss_of))
    sentence = r"epoch 2, batch 2 \(photos \d+\.png.*epoch 1 is kept in .*out\.run.*--lr"
    with pytest.raises(TrainingError, match=sentence):
        train(*world, tmp_path / "out")
    found = checkpoint.read_meta(tmp_path / "out").trained
    assert len(found["epochs"]) == 1 and not found["is_finished"]
    assert all(torch.isfinite(t).all() for t in weights(tmp_path / "out").values())


def test_weights_that_are_not_finite_are_never_kept(world: World, tmp_path: Path) -> None:
    changes = {"batch_size": 64, "warmup_epochs": 0.0, "layer_decay": 1.0, "weight_decay": 1e37}
    one_step = world.but(epochs=1, lr=1000.0, **changes)
    with pytest.raises(TrainingError, match="weights are not finite numbers after epoch 1"):
        train(*one_step, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.run" / "state.pt").exists()


def test_a_restart_that_is_refused_leaves_the_stopped_run(world: World, tmp_path: Path) -> None:
    train(*world, tmp_path / "out")
    with pytest.raises(MktError, match='no backbone "vit_teeny"'):
        train(*world.but(backbone="vit_teeny"), tmp_path / "out", restart=True)
    events: list[Progress] = []
    train(*world, tmp_path / "out", progress=events.append)
    assert "continuing after epoch 3 of 3" in remarks(events)


def test_test_photos_that_cannot_be_read_are_named(world: World, tmp_path: Path) -> None:
    changed = world.but(epochs=1, frozen="0", head_init="random", validation="none")
    task = painted_task(tmp_path)
    name = task.files(task.photos.test)[2]
    (Path(world.data.photos) / name).write_bytes(b"rubbish")
    events: list[Progress] = []
    meta = train(*changed, tmp_path / "out", progress=events.append)
    assert f"left out 1 photo that cannot be read: {name}" in remarks(events)
    assert meta.results["test"]["photos"] == len(task.photos.test) - 1


def test_two_runs_into_one_folder_are_refused(world: World, tmp_path: Path) -> None:
    def second(epoch: Epoch) -> None:
        with pytest.raises(TrainingError, match=rf"pid {os.getpid()} .* is training"):
            train(*world, tmp_path / "out")

    train(*world.but(epochs=1), tmp_path / "out", on_epoch=second)


def test_a_broken_photo_is_left_out_and_named(world: World, tmp_path: Path) -> None:
    (Path(world.data.photos) / "003.png").write_bytes(b"rubbish")
    for frozen in ("all", "0"):
        events: list[Progress] = []
        changed = world.but(epochs=1, frozen=frozen)
        train(*changed, tmp_path / frozen, progress=events.append)
        assert remarks(events).count("left out 1 photo that cannot be read: 003.png") == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr": 0.0}, r"--lr is 0; it must be above 0"),
        ({"pca_dim": 17}, "--pca-dim is 17; this backbone has 16 channels"),
        ({"label_table": "none.npz"}, "no label table at none"),
    ],
)
def test_what_is_refused_leaves_no_checkpoint(
    world: World, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MktError, match=sentence):
        train(*world.but(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_kind_of_settings_trains(world: World, tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"heads": "mlp", "head_init": "random", "score": "vocabulary", "regression": 0.0},
        {"heads": "shared", "score": "dot", "loss_on": "both", "absent_labels": "skip"},
        {"heads": "shared", "pca_dim": 0, "head_init": "ridge", "loss_on": "local"},
        {"flip": True, "label_transform": "whiten", "ema": 0.5, "clip_grad": 1.0},
        {"pca_dim": 5, "head_init": "random", "frozen": "1"},
        {"validation": "none", "resize": "crop", "label_transform": "center"},
        {"frozen": "0", "dtype": "bfloat16", "validation": "test", "weight_decay": 0.05},
    ]
    for number, changes in enumerate(kinds):
        meta = train(*world.but(epochs=1, **changes), tmp_path / str(number))
        assert np.isfinite(meta.results["test"]["cosine"]["all"]["fused"]), changes


def test_a_loss_on_one_stream_leaves_the_head_of_the_other_as_it_is(
    world: World, tmp_path: Path
) -> None:
    train(*world.but(epochs=0), tmp_path / "start")
    train(*world.but(loss_on="global"), tmp_path / "out")
    start, found = weights(tmp_path / "start"), weights(tmp_path / "out")
    changed = {name for name in start if not torch.equal(start[name], found[name])}
    assert changed == {"global_head.weight", "global_head.bias"}


@pytest.mark.slow
@pytest.mark.skipif(not COREL.exists(), reason="Corel-5k is not beside the repository")
def test_a_real_backbone_on_real_photos_ranks_far_better_than_chance(tmp_path: Path) -> None:
    import json

    labels = json.loads((COREL / "labels.json").read_text())
    few = dict(sorted(labels.items())[::25])
    (tmp_path / "labels.json").write_text(json.dumps(few))
    world = World(DataConfig(), Stage1Config()).but(
        photos=str(COREL / "images"),
        labels=str(tmp_path / "labels.json"),
        label_table=str(COREL.parent / "label_tables/glove_300d_names.npz"),
        test_fraction=0.3,
        min_photos=5,
        unseen_fraction=0.0,
        backbone_weights=str(COREL.parent / "backbones/mobilenetv2_100_imagenet.safetensors"),
        backbone_args=("pad_type=same",),
        image_height=96,
        image_width=96,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        pca_dim=64,
        epochs=1,
        workers=0,
    )
    meta = train(*world, tmp_path / "out")
    chance = np.mean([sum(s in shown for shown in few.values()) for s in meta.trained["seen"]])
    assert meta.results["test"]["cosine"]["seen"]["fused"] > 2 * chance / len(few)


def test_labels_may_come_from_a_text_tower(world: World, tmp_path: Path) -> None:
    tower = tiny_clip(tmp_path / "clip")
    meta = train(*world.but(label_table="", text_model=tower, epochs=1), tmp_path / "out")
    assert meta.prompt is not None and meta.dim == 16
    model = open_model(tmp_path / "out")
    expected = open_model(tower).label_encoder().encode(["red", "a label never trained"])
    found = model.label_encoder().encode(["red", "a label never trained"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def colour_classifier(folder: Path) -> dict[str, Any]:
    """Write a classifier of colours for the painted world's backbone; return its settings."""
    generator = torch.Generator().manual_seed(0)
    save_file(
        {"fc.weight": torch.randn(3, 16, generator=generator), "fc.bias": torch.zeros(3)},
        folder / "classifier.safetensors",
    )
    (folder / "names.txt").write_text("red\ngreen\nblue\n")
    return {
        "classifier": str(folder / "classifier.safetensors"),
        "class_names": str(folder / "names.txt"),
    }


def test_an_anchor_is_added_beside_the_student_that_is_trained_without_it(
    world: World, tmp_path: Path
) -> None:
    files = colour_classifier(tmp_path)
    plain = train(*world.but(anchor="0"), tmp_path / "plain")
    meta = train(*world.but(anchor="0.3", **files), tmp_path / "anchored")
    assert_same_weights(tmp_path / "plain", tmp_path / "anchored")
    assert plain.trained["anchor"] is None and checkpoint.ANCHOR not in plain.files
    assert meta.trained["anchor"] == {"weight": 0.3, "classes": 3, "covered": 3, "curve": []}
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    first, second = (
        open_model(tmp_path / name).photo_encoder(device="cpu").encode(pixels)
        for name in ("plain", "anchored")
    )
    assert not np.allclose(first.global_vectors, second.global_vectors)
    assert plain.results != meta.results


def test_a_chosen_weight_is_recorded_with_its_curve(world: World, tmp_path: Path) -> None:
    events: list[Progress] = []
    files = colour_classifier(tmp_path)
    meta = train(*world.but(**files), tmp_path / "out", progress=events.append)
    found = meta.trained["anchor"]
    assert found["weight"] in [point["weight"] for point in found["curve"]]
    assert any("3 of 3 class names have a label vector" in text for text in remarks(events))
    assert meta.local_share == meta.trained["streams"]["local_share"]
    equal = train(*world.but(local_share="0.5", **files), tmp_path / "equal")
    assert (equal.local_share, equal.trained["streams"]) == (0.5, None)


def test_a_given_share_of_the_local_stream_needs_no_anchor(world: World, tmp_path: Path) -> None:
    plain, given, only_local = (
        train(*world.but(anchor="0", local_share=share), tmp_path / share)
        for share in ("auto", "0.7", "0.999999")
    )
    assert_same_weights(tmp_path / "auto", tmp_path / "0.7")
    assert (plain.local_share, plain.format) == (0.5, 1)
    assert (given.local_share, given.format) == (0.7, 3)
    assert given.trained["streams"] == {"local_share": 0.7, "curve": []}
    by_stream = only_local.results["test"]["cosine"]["unseen"]
    assert by_stream["fused"] == by_stream["local"]


def test_an_anchor_needs_a_backbone_that_does_not_learn(world: World, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"--anchor 0\.3 needs a backbone that does not learn"):
        train(*world.but(anchor="0.3", frozen="1"), tmp_path / "out")
    with pytest.raises(TrainingError, match='--anchor is "much"; it must be auto, or a number'):
        train(*world.but(anchor="much"), tmp_path / "out")
