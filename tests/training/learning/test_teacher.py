"""The teacher never learns, its vectors are computed once, and a student can start as its twin."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.errors import ModelError, TrainingError
from mkt_search.models.build import create_student, open_model
from mkt_search.models.label_table import LabelTable
from mkt_search.models.student import Student
from mkt_search.progress import Progress
from tests.tiny import LABELS, SIDE, paint, tiny_clip
from training.data.label_vectors import transform_table
from training.data.photos import PhotoPixels
from training.learning.teacher import (
    Teacher,
    TeacherVectors,
    compute_teacher_vectors,
    load_teacher_backbone,
    open_teacher,
    require_label_space,
    set_teacher_heads,
)
from training.runs.spec import RunSpec

VIT = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
NAME = "vit_base_patch16_clip_224"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def dataset(tmp_path: Path) -> PhotoDataset:
    names = tuple(f"{i}.png" for i in range(5))
    for i, name in enumerate(names):
        paint(tmp_path / "photos" / name, (40 * i, 200, 90), {(0, 0): "red"}, size=(48, 32))
    return PhotoDataset(tmp_path / "photos", names, ("a",), np.ones((5, 1), np.int8))


def vectors_of(
    dataset: PhotoDataset, teacher: Teacher, folder: Path
) -> tuple[TeacherVectors, list[int]]:
    """The vectors, and the counts that were reported."""
    events: list[Progress] = []
    found = compute_teacher_vectors(dataset, teacher, run_in(folder), progress=events.append)
    return found, [event.done for event in events]


def run_in(folder: Path) -> RunSpec:
    return RunSpec(folder, device="cpu", workers=0)


def test_the_teacher_stays_in_evaluation_mode_without_gradients(spec: str) -> None:
    teacher = open_teacher(spec)
    school = nn.ModuleDict({"teacher": teacher}).train()
    assert school.training and not any(m.training for m in teacher.modules())
    assert not any(p.requires_grad for p in teacher.parameters())
    images = torch.randn(2, 3, SIDE, SIDE, requires_grad=True)
    assert not teacher(images)[0].requires_grad
    teacher.requires_grad_(True)
    assert not teacher(images)[0].requires_grad


@pytest.mark.parametrize("tower", ["vit", "resnet", "coca", "map", "convnext"])
def test_any_tower_of_open_clip_can_be_a_teacher(tmp_path: Path, tower: str) -> None:
    from mkt_search.models.clip import open_clip_weights

    spec = tiny_clip(tmp_path, tower)
    teacher = open_teacher(spec)
    images = torch.randn(2, 3, teacher.image.height, teacher.image.width)
    model = open_clip_weights(spec).load()
    with torch.no_grad():
        expected = model.encode_image(images, normalize=False)
    torch.testing.assert_close(teacher(images)[0], expected)
    assert teacher.dim == 16


def test_cached_vectors_are_clip_s_own(spec: str, dataset: PhotoDataset, tmp_path: Path) -> None:
    found, _ = vectors_of(dataset, open_teacher(spec), tmp_path / "cache")
    encoder = open_model(spec).photo_encoder(device="cpu", dtype="float32")
    photos = PhotoPixels(dataset, np.arange(5), encoder.spec)
    pixels = np.stack([photos[i][1].numpy() for i in range(5)])
    vectors, is_known = found.get(np.array([3, 1]))
    np.testing.assert_allclose(vectors, encoder.encode(pixels).global_vectors[[3, 1]], atol=1e-5)
    assert vectors.dtype == torch.float32 and is_known.tolist() == [True, True]


def test_vectors_are_computed_once_for_a_photo_set_and_a_teacher(
    spec: str, dataset: PhotoDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    teacher = open_teacher(spec)
    assert vectors_of(dataset, teacher, folder)[1] == [5]
    assert vectors_of(dataset, open_teacher(spec), folder)[1] == []
    other = open_teacher(tiny_clip(tmp_path / "other", seed=1))
    assert vectors_of(dataset, other, folder)[1] == [5]
    teacher.image = replace(teacher.image, resize="squash")
    assert vectors_of(dataset, teacher, folder)[1] == [5]
    paint(dataset.folder / "2.png", "blue", size=(64, 64))
    assert vectors_of(dataset, open_teacher(spec), folder)[1] == [5]


def test_a_damaged_cache_is_computed_again(
    spec: str, dataset: PhotoDataset, tmp_path: Path
) -> None:
    first, _ = vectors_of(dataset, open_teacher(spec), tmp_path / "cache")
    expected = np.array(first.vectors)
    path = next((tmp_path / "cache").glob("*/vectors.npy"))
    data = bytearray(path.read_bytes())
    data[-2] ^= 4
    path.write_bytes(data)
    again, calls = vectors_of(dataset, open_teacher(spec), tmp_path / "cache")
    assert calls == [5]
    np.testing.assert_array_equal(again.vectors, expected)


def test_a_stopped_computation_resumes(spec: str, dataset: PhotoDataset, tmp_path: Path) -> None:
    def stop(event: Progress) -> None:
        if event.done == 4:
            raise KeyboardInterrupt

    counts: list[Progress] = []
    parts: dict[str, Any] = {"batch_size": 2, "flush_every": 1}
    run = run_in(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        compute_teacher_vectors(dataset, open_teacher(spec), run, progress=stop, **parts)
    found = compute_teacher_vectors(
        dataset, open_teacher(spec), run, progress=counts.append, **parts
    )
    assert counts == [Progress("teacher vectors", 5, 5)]
    whole, _ = vectors_of(dataset, open_teacher(spec), tmp_path / "whole")
    np.testing.assert_allclose(found.vectors, whole.vectors, atol=1e-5)


def test_a_teacher_of_another_label_space_is_refused(spec: str, tmp_path: Path) -> None:
    teacher, other = open_teacher(spec), tiny_clip(tmp_path / "other", seed=1)
    own, others = (open_model(model).label_encoder().encode(LABELS) for model in (spec, other))
    shorter = rf"gives vectors of 16 dimensions, the labels have 8, .*--text-model {spec}"
    with pytest.raises(TrainingError, match=shorter):
        require_label_space(teacher, LABELS, own[:, :8], text_model="")
    turned = own @ np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    for vectors, text_model in ((others, other), (others, ""), (turned.astype(np.float32), "")):
        sentence = rf"but of another space, so it cannot teach in theirs.*--text-model {spec}"
        with pytest.raises(TrainingError, match=sentence):
            require_label_space(teacher, LABELS, vectors, text_model=text_model)


def test_label_vectors_of_the_teacher_may_be_prompted_or_whitened_otherwise(
    spec: str, tmp_path: Path
) -> None:
    teacher, model = open_teacher(spec), open_model(spec)
    own = model.label_encoder().encode(LABELS)
    require_label_space(teacher, LABELS, own, text_model=spec)
    whitened = transform_table(LabelTable(LABELS, own), "whiten", power=0.5).encode(LABELS)
    prompted = model.label_encoder(("a drawing of a {}",)).encode(LABELS)
    for vectors in (own, 7 * own, whitened, prompted):
        require_label_space(teacher, LABELS, vectors, text_model="")
    unknown = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    require_label_space(teacher, LABELS[:2], unknown, text_model="")  # too few to tell


def test_photos_that_cannot_be_read_have_no_vector(
    spec: str, dataset: PhotoDataset, tmp_path: Path
) -> None:
    (dataset.folder / "1.png").write_bytes(b"no photo at all")
    (dataset.folder / "4.png").unlink()
    found, _ = vectors_of(dataset, open_teacher(spec), tmp_path / "cache")
    assert found.get(np.arange(5))[1].tolist() == [True, False, True, True, False]


def test_a_teacher_whose_weights_are_broken_is_refused(
    spec: str, dataset: PhotoDataset, tmp_path: Path
) -> None:
    teacher = open_teacher(spec)
    teacher.visual.proj[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="not finite; its weights may be damaged"):
        vectors_of(dataset, teacher, tmp_path / "cache")


def test_the_provenance_of_a_teacher_has_its_preprocessing(spec: str) -> None:
    found = open_teacher(spec).provenance()
    assert found["model"] == spec and found["dim"] == 16
    assert found["image"]["height"] == SIDE and found["image"]["resize"] == "crop"
    assert len(found["image"]["mean"]) == 3 and len(found["fingerprint"]) == 12


@pytest.mark.parametrize("name", ["tiny-vit/nowhere.safetensors", "no-such-model/openai"])
def test_an_unknown_teacher_is_refused(spec: str, name: str) -> None:
    with pytest.raises(ModelError):
        open_teacher(name)


def student_of(heads: Any = "linear", size: int = SIDE, dim: int = 16, **changes: Any) -> Student:
    options = {**VIT, **changes}
    return create_student(NAME, image_size=(size, size), dim=dim, heads=heads, **options)


def fill(student: Student, teacher: Teacher, size: int = SIDE, **changes: Any) -> None:
    options = {**VIT, **changes}
    load_teacher_backbone(student, teacher, name=NAME, options=options, size=(size, size))


@pytest.mark.parametrize("heads", ["linear", "shared"])
def test_a_student_that_starts_as_its_teacher_gives_clip_s_global_and_dense_vectors(
    spec: str, heads: Any
) -> None:
    teacher, student = open_teacher(spec), student_of(heads)
    fill(student, teacher)
    set_teacher_heads(student, teacher)
    images = torch.randn(3, 3, SIDE, SIDE)
    clip: Any = open_model(spec).student("own")
    with torch.no_grad():
        found, expected = student.eval()(images), clip(images)
        torch.testing.assert_close(found.global_vectors, teacher(images)[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.global_vectors, expected.global_vectors, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.patches, expected.patches, atol=1e-4, rtol=1e-4)


def test_another_image_size_resamples_the_positions(spec: str) -> None:
    teacher, student = open_teacher(spec), student_of(size=48)
    fill(student, teacher, size=48)
    with torch.no_grad():
        assert student(torch.randn(1, 3, 48, 48)).patches.shape == (1, 36, 16)
    taken = dict(student.backbone.named_parameters())["blocks.1.mlp.fc1.weight"]
    assert torch.equal(taken, teacher.visual.transformer.resblocks[1].mlp.c_fc.weight)


OWN = (
    r"--backbone vit_base_patch16_clip_224 --backbone-arg patch_size=8 --backbone-arg embed_dim=32"
    r" --backbone-arg depth=2 --backbone-arg num_heads=2"
)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        (NAME, {"depth": 3}, "tensors are missing"),
        (NAME, {"embed_dim": 16}, "have another shape"),
        (NAME, {"num_heads": 4}, "its output differs with them"),
        ("vit_base_patch16_clip_quickgelu_224", {}, "its output differs with them"),
        ("mobilenetv2_100", {}, "tensors are missing"),
    ],
)
def test_another_architecture_is_refused_and_the_right_one_named(
    spec: str, name: str, changes: dict[str, Any], why: str
) -> None:
    options = {} if name.startswith("mobile") else {**VIT, **changes}
    student = create_student(name, image_size=(SIDE, SIDE), dim=16, **options)
    with pytest.raises(TrainingError, match=rf"{why}.*own architecture is {OWN}\."):
        load_teacher_backbone(
            student, open_teacher(spec), name=name, options=options, size=(SIDE, SIDE)
        )


def test_the_projection_of_another_width_is_refused(spec: str) -> None:
    with pytest.raises(TrainingError, match=r"maps 32 channels to 16 .* heads map 16 to 16"):
        set_teacher_heads(student_of(embed_dim=16), open_teacher(spec))
    with pytest.raises(TrainingError, match="needs --heads linear or shared"):
        set_teacher_heads(student_of("mlp"), open_teacher(spec))


def test_a_tower_without_a_timm_twin_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ModifiedResNet"):
        fill(student_of(), open_teacher(tiny_clip(tmp_path, "resnet")))
