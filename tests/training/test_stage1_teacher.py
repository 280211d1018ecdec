"""Stage 1 beside a teacher: what the student starts as, and what the teacher adds to its loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mkt_search.errors import MktError, TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.photos import decode as images
from mkt_search.progress import Progress
from tests.painted import World, painted_world
from tests.tiny import other_image_tower, tiny_clip
from tests.training.test_stage1 import remarks
from training.runs.history import Epoch
from training.stage1 import train

TWIN = ("patch_size=8", "embed_dim=32", "depth=2", "num_heads=2")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return tiny_clip(tmp_path / "clip")


@pytest.fixture
def world(tmp_path: Path, clip: str) -> World:
    """Labels from the text tower of a tiny CLIP, whose image tower is the student's start."""
    return painted_world(tmp_path).but(
        label_table="",
        text_model=clip,
        teacher=clip,
        backbone="vit_base_patch16_clip_224",
        backbone_args=TWIN,
        backbone_weights="teacher",
        head_init="teacher",
        heads="shared",
        regression=0.0,
        resize="crop",
        score="vocabulary",
        frozen="1",
        anchor="0",
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / checkpoint.STUDENT)


@pytest.mark.parametrize("heads", ["linear", "shared"])
def test_an_untrained_student_is_its_teacher(
    world: World, clip: str, tmp_path: Path, heads: str
) -> None:
    meta = train(*world.but(epochs=0, heads=heads), tmp_path / "out")
    photo = next(Path(world.data.photos).iterdir())
    models = [open_model(spec) for spec in (tmp_path / "out", clip)]
    encoders = [
        model.photo_encoder(device="cpu", dtype="float32", patch_vectors="own") for model in models
    ]
    assert encoders[0].spec == encoders[1].spec == meta.image
    image = images.decode(photo.read_bytes()).image
    pixels = images.to_pixels(image, meta.image)[None]
    mine, theirs = (encoder.encode(pixels) for encoder in encoders)
    np.testing.assert_allclose(mine.global_vectors, theirs.global_vectors, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mine.patches, theirs.patches, rtol=1e-4, atol=1e-4)


def test_the_teacher_s_distance_is_part_of_the_loss_and_falls(
    world: World, clip: str, tmp_path: Path
) -> None:
    changed = world.but(distill=5.0, head_init="random", epochs=4, lr=3e-3)
    meta = train(*changed, tmp_path / "out")
    losses = [epoch["losses"] for epoch in meta.trained["epochs"]]
    assert set(losses[0]) == {"loss", "rank", "distill"}
    assert losses[-1]["distill"] < 0.8 * losses[0]["distill"]
    for epoch in losses:
        assert epoch["loss"] == pytest.approx(epoch["rank"] + 5 * epoch["distill"], rel=1e-5)
    info = meta.trained["teacher"]
    assert info["model"] == clip and info["image"]["resize"] == "crop" and info["dim"] == 16
    assert meta.trained["settings"]["teacher weights"] == info["fingerprint"]
    assert meta.trained["settings"]["distill"] == 5.0


def test_a_student_that_is_its_teacher_has_nothing_to_distill_until_it_moves(
    world: World, tmp_path: Path
) -> None:
    meta = train(*world.but(distill=1.0, epochs=1, batch_size=29), tmp_path / "out")
    assert meta.trained["epochs"][0]["losses"]["distill"] < 1e-4  # its one step comes after


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["linear", "shared", "mlp"])
def test_every_kind_of_heads_can_be_distilled_into(
    world: World, tmp_path: Path, heads: str
) -> None:
    changed = world.but(heads=heads, head_init="random", distill=1.0, epochs=1, distill_on="unit")
    meta = train(*changed, tmp_path / "out")
    assert np.isfinite(meta.trained["epochs"][0]["losses"]["distill"])


def test_a_student_with_a_frozen_backbone_can_be_distilled_into(
    world: World, tmp_path: Path
) -> None:
    changed = world.but(frozen="all", head_init="ridge", distill=0.5, regression=1.0, epochs=1)
    meta = train(*changed, tmp_path / "out")
    assert {"rank", "regression", "distill"} < set(meta.trained["epochs"][0]["losses"])


@pytest.mark.slow
def test_the_teacher_sees_each_photo_once_whatever_the_student_sees(
    world: World, tmp_path: Path
) -> None:
    events: list[Progress] = []
    changed = world.but(distill=1.0, cache=str(tmp_path / "cache"), epochs=1)
    train(*changed, tmp_path / "a", progress=events.append)
    assert Progress("teacher vectors", 48, 48) in events
    events.clear()
    augmented = changed.but(crop_scale=0.3, flip=True, randaugment="rand-m9", seed=3)
    train(*augmented, tmp_path / "b", progress=events.append)
    assert not any(event.step == "teacher vectors" for event in events)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("distill", [0.0, 1.0])
def test_the_distance_of_patches_is_part_of_the_loss_and_falls(
    world: World, tmp_path: Path, distill: float
) -> None:
    changed = world.but(distill=distill, distill_patches=5.0, crop_scale=0.5, flip=True)
    changed = changed.but(head_init="random", heads="linear", epochs=4, lr=3e-3)
    meta = train(*changed, tmp_path / "out")
    losses = [epoch["losses"] for epoch in meta.trained["epochs"]]
    assert set(losses[0]) == {"loss", "rank", "patches"} | ({"distill"} if distill else set())
    assert losses[-1]["patches"] < 0.8 * losses[0]["patches"]
    for epoch in losses:
        parts = epoch["rank"] + distill * epoch.get("distill", 0) + 5 * epoch["patches"]
        assert epoch["loss"] == pytest.approx(parts, rel=1e-5)


@pytest.mark.slow
def test_a_run_that_distills_patches_continues_where_it_stopped(
    world: World, tmp_path: Path
) -> None:
    changed = world.but(distill_patches=1.0, flip=True, epochs=2)
    train(*changed, tmp_path / "whole")

    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*changed, tmp_path / "stopped", on_epoch=stop)
    train(*changed, tmp_path / "stopped")
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_photos_that_cannot_be_read_are_left_out(world: World, tmp_path: Path) -> None:
    (Path(world.data.photos) / "003.png").write_bytes(b"rubbish")
    events: list[Progress] = []
    changed = world.but(distill=1.0, epochs=1, batch_size=64)
    meta = train(*changed, tmp_path / "out", progress=events.append)
    assert "left out 1 photo that cannot be read: 003.png" in remarks(events)
    assert meta.trained["epochs"][0]["losses"]["distill"] < 1e-4


def test_a_teacher_that_nothing_asks_for_is_reported(world: World, tmp_path: Path) -> None:
    events: list[Progress] = []
    changed = world.but(backbone_weights="", head_init="random", epochs=0)
    meta = train(*changed, tmp_path / "out", progress=events.append)
    assert any(
        "is not used: --distill and --distill-patches are 0" in sentence
        for sentence in remarks(events)
    )
    assert meta.trained["teacher"] is None


def test_another_teacher_is_another_run(world: World, clip: str, tmp_path: Path) -> None:
    changed = world.but(distill=1.0, epochs=1)
    train(*changed, tmp_path / "out")
    other = other_image_tower(clip, tmp_path / "other.safetensors")
    with pytest.raises(TrainingError, match="teacher weights was"):
        train(*changed.but(teacher=other), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": "ViT-B-61/openai"}, "there is no model"),
        ({"teacher": "tiny-vit/none.pt"}, "no such file"),
        ({"backbone_args": (*TWIN, "depth=3")}, "own architecture is --backbone vit_base"),
    ],
)
def test_an_impossible_teacher_is_refused_before_any_photo_is_read(
    world: World, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    events: list[Progress] = []
    with pytest.raises(MktError, match=sentence):
        train(*world.but(distill=1.0, **changes), tmp_path / "out", progress=events.append)
    assert not any(event.done for event in events)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes", [{"head_init": "teacher"}, {"head_init": "random", "distill": 1.0}]
)
def test_a_teacher_of_another_label_space_is_refused(
    world: World, clip: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    table = str(tmp_path / "table.npz")
    sentence = rf"gives vectors of 16 dimensions, the labels have 8, .*--text-model {clip}"
    with pytest.raises(TrainingError, match=sentence):
        train(*world.but(label_table=table, text_model="", **changes), tmp_path / "out")


def test_a_teacher_of_another_space_as_wide_is_refused(world: World, tmp_path: Path) -> None:
    other = tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(TrainingError, match="as many dimensions as the labels but of another"):
        train(*world.but(text_model=other), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_its_backbone_may_be_used_in_another_label_space(world: World, tmp_path: Path) -> None:
    table = str(tmp_path / "table.npz")
    changed = world.but(label_table=table, text_model="", head_init="random", epochs=0)
    assert train(*changed, tmp_path / "out").dim == 8


def test_the_teachers_share_lies_between_student_and_teacher(world: World, tmp_path: Path) -> None:
    for name, changes in {
        "teacher": {"epochs": 0},
        "student": {},
        "anchored": {"anchor": "0.25"},
        "mean": {"anchor": "0.25", "ema": 0.9},
        "plain mean": {"ema": 0.9},
    }.items():
        train(*world.but(**changes), tmp_path / name)
    teacher, student, mean = (weights(tmp_path / x) for x in ("teacher", "student", "plain mean"))
    for name, found in weights(tmp_path / "anchored").items():
        torch.testing.assert_close(found, 0.75 * student[name] + 0.25 * teacher[name])
        of_mean = weights(tmp_path / "mean")[name]
        torch.testing.assert_close(of_mean, 0.75 * mean[name] + 0.25 * teacher[name])
    meta = checkpoint.read_meta(tmp_path / "anchored")
    assert meta.trained["anchor"] == {"weight": 0.25, "classes": 0, "covered": 0, "curve": []}
    assert meta.format == 1 and checkpoint.ANCHOR not in meta.files


@pytest.mark.slow
def test_a_chosen_share_is_recorded_with_its_curve_and_kept_by_a_resumed_run(
    world: World, tmp_path: Path
) -> None:
    changed = world.but(anchor="auto")
    meta = train(*changed, tmp_path / "whole")
    found = meta.trained["anchor"]
    assert found["weight"] in [point["weight"] for point in found["curve"]]
    assert found["curve"][0]["weight"] == 0
    streams = meta.trained["streams"]
    assert streams["local_share"] in [point["weight"] for point in streams["curve"]]
    assert meta.local_share == streams["local_share"]

    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*changed, tmp_path / "stopped", on_epoch=stop)
    events: list[Progress] = []
    again = train(*changed, tmp_path / "stopped", progress=events.append)
    assert again.trained["anchor"] == found
    assert (again.trained["streams"], again.local_share) == (streams, meta.local_share)
    assert again.results == meta.results
    assert not any("choosing" in sentence for sentence in remarks(events))
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert all(torch.equal(first[name], second[name]) for name in first)
    model = open_model(tmp_path / "whole")
    for words in ("teacher's share of the weights", "local stream has a share"):
        assert any(words in sentence for sentence in model.remarks)


def test_a_share_of_a_teacher_that_the_student_does_not_start_as_is_refused(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="or a student that starts as its teacher"):
        train(*world.but(anchor="0.3", head_init="random"), tmp_path / "out")
    with pytest.raises(TrainingError, match="--backbone-weights teacher needs a teacher"):
        train(*world.but(anchor="0.3", teacher=""), tmp_path / "out")
