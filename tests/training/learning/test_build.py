"""Stage 1 beside a teacher: what is refused first, what a student starts as, what it is taught."""

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
from mkt_search.settings import config
from tests.painted import World, painted_world
from tests.tiny import tiny_clip
from training import plans as settings
from training import stage1
from training.data.task import load_task
from training.runs.history import Listener
from training.stage1 import train

TWIN = ("patch_size=8", "embed_dim=32", "depth=2", "num_heads=2")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return tiny_clip(tmp_path / "clip")


@pytest.fixture
def world(tmp_path: Path, clip: str) -> World:
    """Labels from the text tower of a tiny CLIP, whose image tower is the student's start."""
    return taught_world(tmp_path, clip)


def taught_world(folder: Path, clip: str) -> World:
    return painted_world(folder).but(
        label_table="",
        text_model=clip,
        teacher=clip,
        backbone="vit_base_patch16_clip_224",
        backbone_args=TWIN,
        backbone_weights="teacher",
        start="teacher",
        heads="shared",
        regression=0.0,
        resize="crop",
        score="vocabulary",
        frozen="1",
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
    encoders = [model.photo_encoder(device="cpu", dtype="float32") for model in models]
    assert encoders[0].spec == encoders[1].spec == meta.image
    image = images.decode(photo.read_bytes()).image
    pixels = images.to_pixels(image, meta.image)[None]
    mine, theirs = (encoder.encode(pixels) for encoder in encoders)
    np.testing.assert_allclose(mine.global_, theirs.global_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mine.patches, theirs.patches, rtol=1e-4, atol=1e-4)


def test_the_teacher_teaches_and_its_story_is_told(world: World, clip: str, tmp_path: Path) -> None:
    changed = world.but(distill=5.0, start="random", epochs=4, lr=3e-3)
    meta = train(*changed, tmp_path / "out")
    losses = [epoch["losses"] for epoch in meta.trained["epochs"]]
    assert set(losses[0]) == {"loss", "rank", "distill"}
    assert losses[-1]["distill"] < 0.8 * losses[0]["distill"]
    for epoch in losses:
        assert epoch["loss"] == pytest.approx(epoch["rank"] + 5 * epoch["distill"], rel=1e-5)
    told = meta.trained["teacher"]
    assert told["model"] == clip and told["image"]["resize"] == "crop" and told["dim"] == 16
    assert meta.trained["settings"]["teacher weights"] == told["fingerprint"]
    assert meta.trained["settings"]["distill"] == 5.0


def test_a_student_that_is_its_teacher_has_nothing_to_distill_until_it_moves(
    world: World, tmp_path: Path
) -> None:
    meta = train(*world.but(distill=1.0, epochs=1, batch_size=29), tmp_path / "out")
    assert meta.trained["epochs"][0]["losses"]["distill"] < 1e-4  # its one step comes after


@pytest.mark.parametrize("heads", ["linear", "shared", "mlp"])
def test_every_kind_of_heads_can_be_taught(world: World, tmp_path: Path, heads: str) -> None:
    changed = world.but(heads=heads, start="random", distill=1.0, epochs=1, distill_on="unit")
    meta = train(*changed, tmp_path / "out")
    assert np.isfinite(meta.trained["epochs"][0]["losses"]["distill"])


def test_a_frozen_backbone_can_be_taught_too(world: World, tmp_path: Path) -> None:
    changed = world.but(frozen="all", start="ridge", distill=0.5, regression=1.0, epochs=1)
    meta = train(*changed, tmp_path / "out")
    assert {"rank", "regression", "distill"} < set(meta.trained["epochs"][0]["losses"])


def test_the_teacher_sees_each_photo_once_whatever_the_student_sees(
    world: World, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    changed = world.but(distill=1.0, cache=str(tmp_path / "cache"), epochs=1)
    listener = Listener(on_photos=lambda done, total: seen.append((done, total)))
    train(*changed, tmp_path / "a", listener=listener)
    assert seen[-1] == (48, 48)
    seen.clear()
    augmented = changed.but(crop_scale=0.3, flip=True, randaugment="rand-m9", seed=3)
    train(*augmented, tmp_path / "b", listener=listener)
    assert not seen  # its vectors of the photos as they are serve again
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_photos_that_cannot_be_read_take_no_part(world: World, tmp_path: Path) -> None:
    (Path(world.data.photos) / "003.png").write_bytes(b"rubbish")
    said: list[str] = []
    changed = world.but(distill=1.0, epochs=1, batch_size=64)
    meta = train(*changed, tmp_path / "out", listener=Listener(say=said.append))
    assert "left out 1 photo that cannot be read: 003.png" in said
    assert meta.trained["epochs"][0]["losses"]["distill"] < 1e-4


def test_a_teacher_nobody_asks_is_said_to_take_no_part(world: World, tmp_path: Path) -> None:
    said: list[str] = []
    changed = world.but(backbone_weights="", start="random", epochs=0)
    meta = train(*changed, tmp_path / "out", listener=Listener(say=said.append))
    assert any("takes no part: --distill is 0" in sentence for sentence in said)
    assert meta.trained["teacher"] is None


def test_another_teacher_is_another_run(world: World, clip: str, tmp_path: Path) -> None:
    changed = world.but(distill=1.0, epochs=1)
    train(*changed, tmp_path / "out")
    other = tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(TrainingError, match="teacher weights was"):
        train(*changed.but(teacher=other), tmp_path / "out")


def no_work(*args: Any, **more: Any) -> None:
    raise AssertionError("this should have been refused before any work")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher": "", "distill": 1.0}, "--distill 1 needs a teacher; name one by --teacher"),
        ({"teacher": ""}, "--backbone-weights teacher needs a teacher"),
        ({"teacher": "", "backbone_weights": "f"}, "--start teacher needs a teacher"),
        ({"heads": "mlp"}, "--start teacher needs --heads linear or shared; take --start random"),
        ({"feature_dim": 8}, "give --feature-dim 0"),
        ({"backbone_weights": ""}, "says nothing of a random backbone"),
        ({"teacher": "ViT-B-61/openai"}, "there is no model"),
        ({"teacher": "tiny-vit/none.pt"}, "no such file"),
        ({"frozen": "all", "randaugment": "rand-m9"}, "RandAugment need a backbone that learns"),
        ({"randaugment": "rand-9"}, r'--randaugment is "rand-9"; .* rand-m9-mstd0.5-inc1'),
        ({"backbone_args": (*TWIN, "depth=3")}, "own architecture is --backbone vit_base"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    sentence: str,
) -> None:
    monkeypatch.setattr("training.learning.teacher.fill", no_work)
    monkeypatch.setattr("training.data.features.fill", no_work)
    with pytest.raises(MktError, match=sentence):
        train(*world.but(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("changes", [{"start": "teacher"}, {"start": "random", "distill": 1.0}])
def test_a_teacher_of_another_space_is_refused(
    world: World, clip: str, tmp_path: Path, changes: dict[str, Any]
) -> None:
    table = str(tmp_path / "table.npz")
    sentence = rf"gives vectors of 16 dimensions, the labels have 8: .*--text-model {clip}"
    with pytest.raises(TrainingError, match=sentence):
        train(*world.but(label_table=table, text_model="", **changes), tmp_path / "out")


def test_its_backbone_may_serve_in_another_space(world: World, tmp_path: Path) -> None:
    table = str(tmp_path / "table.npz")
    changed = world.but(label_table=table, text_model="", start="random", epochs=0)
    assert train(*changed, tmp_path / "out").dim == 8


def test_labels_without_a_positive_are_named(world: World) -> None:
    task = load_task(world.data, world.config, lambda sentence: None)
    name = task.labels.seen[1]
    task.dataset.targets[task.photos.train, 1] = -1
    said: list[str] = []
    stage1.check_labels(task, Listener(say=said.append))
    assert said == [
        f"no photo to learn from shows 1 label: {name}. Without a positive a label is only learned"
        " to be absent"
    ]
    task.dataset.targets[:] = -1
    with pytest.raises(TrainingError, match="no training photo shows a seen label"):
        stage1.check_labels(task, Listener())


def test_mean_and_std_are_the_teacher_s_unless_given(world: World, tmp_path: Path) -> None:
    own = world.but(mean=(0.1, 0.2, 0.3), epochs=0)
    meta = train(*own, tmp_path / "own")
    assert meta.image.mean == (0.1, 0.2, 0.3)
    assert meta.image.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))


def test_the_recipe_in_the_documents_can_be_followed(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent.parent.parent / "docs/training.md").read_text()
    recipe = text.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "mkt.toml").write_text(recipe)
    found = config.load(tmp_path, environ={}).stage1
    settings.check(found)
    assert (found.lr, found.layer_decay, found.frozen, found.top_k) == (1e-3, 0.65, "10", 16)
    assert settings.uses_teacher(found)
