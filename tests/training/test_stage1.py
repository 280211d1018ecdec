"""Stage 1 on painted photos: it learns, resumes bit by bit, and its checkpoint tells its story."""

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
from safetensors.torch import load_file

from mkt_search.errors import MktError, TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.student import create_heads
from mkt_search.settings.config import DataConfig, Stage1Config
from tests.painted import NAMES, World, no_number_at, painted_world
from tests.tiny import tiny_clip, tiny_student
from training.data.task import load_task
from training.learning import build as prepare
from training.learning import learner
from training.learning.pca import main_axes, plain_state, put_on_axes
from training.learning.ridge import moments, set_heads, stream_moments
from training.runs.history import Epoch, Listener
from training.stage1 import train


@pytest.fixture
def world(tmp_path: Path) -> World:
    return painted_world(tmp_path)


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


def test_the_checkpoint_tells_its_story_and_opens_as_a_model(world: World, tmp_path: Path) -> None:
    meta = train(*world, tmp_path / "out")
    story = checkpoint.read_meta(tmp_path / "out").trained
    assert story == meta.trained
    assert story["is_finished"] and len(story["epochs"]) == world.config.epochs
    assert sorted([*story["seen"], *story["unseen"]]) == sorted(NAMES)
    assert story["photos"] == {"train": 29, "validation": 7, "test": 12}
    assert story["settings"]["lr"] == world.config.lr
    assert set(story["epochs"][0]["losses"]) == {"loss", "rank", "regression"}
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
    [{}, {"feature_dim": 6, "heads": "shared", "ema": 0.5}, MOVING],
    ids=["frozen", "axes", "moving"],
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
        train(*changed, tmp_path / "stopped", listener=Listener(on_epoch=stop))
    said: list[str] = []
    train(*changed, tmp_path / "stopped", listener=Listener(say=said.append))
    assert "going on after epoch 2 of 3" in said
    assert_same_weights(tmp_path / "whole", tmp_path / "stopped")


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.test_stage1 import everything_at_once
from training.learning.learner import Learner
from training.stage1 import train

folder, last = Path(sys.argv[1]), int(sys.argv[2])
steps, step = 0, Learner.step

def step_or_die(self, loss, *, rate):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, loss, rate=rate)

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
        start="teacher",
        frozen="1",
        ema=0.9,
        flip=True,
        crop_scale=0.3,
        randaugment="rand-m9-mstd0.5-inc1",
        weight_decay=0.05,
    )


def test_a_process_killed_at_any_step_goes_on_to_the_same_weights(tmp_path: Path) -> None:
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
    said: list[str] = []
    train(*world, tmp_path / "out", listener=Listener(say=said.append))
    assert f"going on after epoch {(last - 1) // 3} of 3" in said
    train(*world, tmp_path / "whole")
    assert_same_weights(tmp_path / "whole", tmp_path / "out")


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    world: World, tmp_path: Path
) -> None:
    changed = world.but(start="random", epochs=1)
    train(*changed, tmp_path / "a")
    train(*changed, tmp_path / "b")
    train(*changed.but(seed=1), tmp_path / "c")
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    assert any(
        not torch.equal(x, weights(tmp_path / "c")[n]) for n, x in weights(tmp_path / "a").items()
    )


def test_workers_change_nothing(world: World, tmp_path: Path) -> None:
    changed = world.but(frozen="0", crop_scale=0.5, flip=True, start="random", epochs=1)
    train(*changed, tmp_path / "none")
    train(*changed.but(workers=2), tmp_path / "two")
    assert_same_weights(tmp_path / "none", tmp_path / "two")


@pytest.mark.parametrize("frozen", ["all", "1", "0"])
def test_frozen_blocks_stand_still_and_the_others_move(
    world: World, tmp_path: Path, frozen: str
) -> None:
    changed = world.but(frozen=frozen, start="random", epochs=1)
    before = prepare.build_student(changed.config, dim=8).state()
    train(*changed, tmp_path / "out")
    moved = {n for n, t in weights(tmp_path / "out").items() if not torch.equal(t, before[n])}
    assert any(name.startswith("global_head") for name in moved)
    assert any(name.startswith("backbone.blocks.1") for name in moved) == (frozen != "all")
    assert any(name.startswith("backbone.blocks.0") for name in moved) == (frozen == "0")


@pytest.mark.parametrize(("frozen", "views"), [("all", 2), ("1", 1)])
def test_photos_are_looked_at_mirrored_only_where_their_features_are_learned_from(
    world: World, tmp_path: Path, frozen: str, views: int
) -> None:
    seen: list[tuple[int, int]] = []
    listener = Listener(on_photos=lambda done, total: seen.append((done, total)))
    train(*world.but(frozen=frozen, flip=True, epochs=1), tmp_path / "out", listener=listener)
    assert seen[-1] == (48 * views, 48 * views)


def test_no_epochs_leave_the_ridge_start(world: World, tmp_path: Path) -> None:
    meta = train(*world.but(epochs=0), tmp_path / "out")
    assert meta.results["test"]["cosine"]["seen"]["fused"] > 0.5 and not meta.trained["epochs"]


def test_a_run_with_other_settings_is_not_gone_on_with(world: World, tmp_path: Path) -> None:
    train(*world, tmp_path / "out")
    with pytest.raises(TrainingError, match=r"lr was 0.001 and is now 0.5.*--restart"):
        train(*world.but(lr=0.5), tmp_path / "out")
    meta = train(*world.but(lr=0.002), tmp_path / "out", restart=True)
    assert meta.trained["settings"]["lr"] == 0.002


def test_a_run_with_other_data_is_not_gone_on_with(world: World, tmp_path: Path) -> None:
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


def test_what_is_at_out_is_not_destroyed(world: World, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/novel.txt").write_text("Call me")
    with pytest.raises(TrainingError, match="is no checkpoint"):
        train(*world, tmp_path / "precious", restart=True)
    checkpoint.write(
        tmp_path / "older", checkpoint.read_meta(trained(world, tmp_path)), tiny_student().state()
    )
    with pytest.raises(TrainingError, match=r"exists already.*--restart"):
        train(*world, tmp_path / "older")


def trained(world: World, folder: Path) -> Path:
    train(*world.but(epochs=0), folder / "made")
    return folder / "made"


def test_a_loss_that_is_no_number_stops_with_the_batch_named_and_keeps_the_last_epoch(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "ranking_on", no_number_at(5, learner.ranking_on))
    sentence = r"epoch 2, batch 2 \(photos \d+\.png.*epoch 1 is kept in .*out\.run.*--lr"
    with pytest.raises(TrainingError, match=sentence):
        train(*world, tmp_path / "out")
    story = checkpoint.read_meta(tmp_path / "out").trained
    assert len(story["epochs"]) == 1 and not story["is_finished"]
    assert all(torch.isfinite(t).all() for t in weights(tmp_path / "out").values())


def test_a_last_step_that_spoils_the_weights_is_never_kept(world: World, tmp_path: Path) -> None:
    one_step = world.but(epochs=1, batch_size=64, lr=1000.0, layer_decay=1.0, weight_decay=1e37)
    with pytest.raises(TrainingError, match="weights are not finite numbers after epoch 1"):
        train(*one_step, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.run" / "state.pt").exists()


def test_a_restart_that_is_refused_leaves_the_stopped_run(world: World, tmp_path: Path) -> None:
    train(*world, tmp_path / "out")
    with pytest.raises(MktError, match='no backbone "vit_teeny"'):
        train(*world.but(backbone="vit_teeny"), tmp_path / "out", restart=True)
    said: list[str] = []
    train(*world, tmp_path / "out", listener=Listener(say=said.append))
    assert "going on after epoch 3 of 3" in said


def test_test_photos_that_cannot_be_read_are_named_though_nobody_learns_from_them(
    world: World, tmp_path: Path
) -> None:
    changed = world.but(epochs=1, frozen="0", start="random")
    task = load_task(*changed, lambda sentence: None)
    name = task.files(task.photos.test)[2]
    (Path(world.data.photos) / name).write_bytes(b"rubbish")
    said: list[str] = []
    meta = train(*changed, tmp_path / "out", listener=Listener(say=said.append))
    assert f"left out 1 photo that cannot be read: {name}" in said
    assert meta.results["test"]["photos"] == len(task.photos.test) - 1


def test_two_runs_into_one_folder_are_refused(world: World, tmp_path: Path) -> None:
    def second(epoch: Epoch) -> None:
        with pytest.raises(TrainingError, match=rf"pid {os.getpid()} .* is training"):
            train(*world, tmp_path / "out")

    train(*world.but(epochs=1), tmp_path / "out", listener=Listener(on_epoch=second))


def test_a_broken_photo_is_left_out_and_named(world: World, tmp_path: Path) -> None:
    (Path(world.data.photos) / "003.png").write_bytes(b"rubbish")
    for frozen in ("all", "0"):
        said: list[str] = []
        changed = world.but(epochs=1, frozen=frozen)
        train(*changed, tmp_path / frozen, listener=Listener(say=said.append))
        assert "left out 1 photo that cannot be read: 003.png" in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"photos": ""}, "--photos is missing"),
        ({"label_table": ""}, "either --label-table FILE or --text-model"),
        ({"text_model": "ViT-B-16/openai"}, "either --label-table FILE or --text-model"),
        ({"frozen": "some"}, '--frozen is "some"'),
        ({"frozen": "7"}, "cannot freeze 7 blocks"),
        ({"crop_scale": 0.5}, "random crops and RandAugment need"),
        ({"crop_scale": 0.0, "frozen": "0"}, "--crop-scale is 0.0"),
        ({"ema": 1.0}, "--ema is 1.0"),
        ({"lr": 0.0}, r"--lr is 0; it must be above 0"),
        ({"image_width": 7}, "cannot look at images of 32 x 7"),
        ({"mean": (0.5,)}, "--mean needs three"),
        ({"std": (0.5, 0.0, 0.5)}, "--std must be above 0"),
        ({"backbone_args": ("img_size",)}, "must be name=value"),
        ({"heads": "mlp"}, "--start ridge needs --heads linear"),
        (
            {"heads": "mlp", "start": "random", "feature_dim": 4},
            "--feature-dim needs --heads linear",
        ),
        ({"feature_dim": 17}, "--feature-dim is 17; this backbone has 16 channels"),
        ({"unseen_fraction": 0.9}, "1 label left to train on"),
        ({"unseen_fraction": 1.5}, "--unseen-fraction is 1.5"),
        ({"label_transform": "whiten", "whiten_shrink": 0.0}, "--whiten-shrink above 0"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(
    world: World, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MktError, match=sentence):
        train(*world.but(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_kind_of_settings_trains(world: World, tmp_path: Path) -> None:
    kinds: list[dict[str, Any]] = [
        {"heads": "mlp", "start": "random", "score": "vocabulary", "regression": 0.0},
        {"heads": "shared", "score": "dot", "loss_on": "both", "absent_labels": "skip"},
        {"flip": True, "label_transform": "whiten", "ema": 0.5, "clip_grad": 1.0},
        {"feature_dim": 5, "start": "random", "frozen": "1"},
        {"validation": "none", "resize": "crop", "label_transform": "center"},
        {"frozen": "0", "dtype": "bfloat16", "validation": "test", "weight_decay": 0.05},
    ]
    for number, changes in enumerate(kinds):
        meta = train(*world.but(epochs=1, **changes), tmp_path / str(number))
        assert np.isfinite(meta.results["test"]["cosine"]["all"]["fused"]), changes


@pytest.mark.parametrize("shared", [False, True])
def test_ridge_heads_minimise_the_regression_loss(shared: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    cls, patches = torch.randn(30, 4, generator=rng), torch.randn(30, 5, 4, generator=rng)
    goal = torch.nn.functional.normalize(torch.randn(30, 3, generator=rng), dim=-1)
    first = torch.nn.Linear(4, 3)
    second = first if shared else torch.nn.Linear(4, 3)
    found = stream_moments(
        [(cls[:20], patches[:20], goal[:20]), (cls[20:], patches[20:], goal[20:])]
    )
    penalty = set_heads(first, second, *found, strength=0.1)
    assert penalty == pytest.approx(0.1 * float(cls.var(dim=0, unbiased=False).sum()), rel=1e-4)
    loss = (first(cls) - goal).square().sum(-1).mean()
    loss = loss + (second(patches) - goal[:, None]).square().sum(-1).mean()
    # a shared head carries the penalty of both streams, as its two moments together count double
    loss = loss + penalty * sum(h.weight.square().sum() for h in (first, second))
    for head in set((first, second)):
        for gradient in torch.autograd.grad(loss, list(head.parameters()), retain_graph=True):
            assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["linear", "shared"])
def test_heads_on_axes_fold_into_plain_ones_that_give_the_same(kind: Any) -> None:
    student, cls, patches = tiny_student(), torch.randn(9, 16), torch.randn(9, 5, 16)
    student.global_head, student.local_head = create_heads(kind, 16, 16)
    plain = tiny_student(seed=1)
    plain.global_head, plain.local_head = create_heads(kind, 16, 16)
    found = stream_moments([(cls, patches, torch.randn(9, 16))])
    put_on_axes(student, *main_axes(*found, 7))
    plain.load(plain_state(student), source="here")
    for expected, vectors in zip(
        student.project(cls, patches), plain.project(cls, patches), strict=True
    ):
        torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)


def test_all_axes_lose_nothing_and_few_keep_what_varies_most() -> None:
    cls = torch.randn(200, 3) * torch.tensor([10.0, 1.0, 0.01])
    found = stream_moments([(cls, cls[:, None], torch.zeros(200, 2))])
    mean, axes = main_axes(*found, 2)
    seen = (cls - mean) @ axes
    assert seen.var(dim=0, correction=0).mean().item() == pytest.approx(1, rel=1e-3)
    assert axes[2].abs().max() < 1e-2 * axes[0].abs().max()


def test_moments_along_axes_are_those_of_projected_features() -> None:
    x, t = torch.randn(9, 4).double(), torch.randn(9, 2).double()
    mean, axes = torch.randn(4).double(), torch.randn(4, 3).double()
    expected = moments((x - mean) @ axes, t)
    found = moments(x, t).along(mean, axes)
    for name in ("x", "t", "xx", "xt"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


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
        feature_dim=64,
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
    expected = open_model(tower).label_encoder().encode(["red", "a label nobody trained"])
    found = model.label_encoder().encode(["red", "a label nobody trained"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_moments_of_parts_add_up() -> None:
    x, t = torch.randn(9, 4).double(), torch.randn(9, 2).double()
    whole, parts = moments(x, t), moments(x[:4], t[:4]) + moments(x[4:], t[4:])
    torch.testing.assert_close(whole.solve(0.3), parts.solve(0.3))
    torch.testing.assert_close(whole.covariance, x.T.cov(correction=0))
