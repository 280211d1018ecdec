"""open_clip's image towers as students: global vectors and patches equal plain computations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mkt_search.errors import ModelError
from mkt_search.models.clip import create_clip
from mkt_search.models.clip_student import ClipStudent, clip_student
from tests.tiny import tiny_clip

Open = Callable[[str], tuple[Any, ClipStudent]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    def _open(tower: str) -> tuple[Any, ClipStudent]:
        name, _, weights = tiny_clip(tmp_path, tower).partition("/")
        model = create_clip(name, pretrained=weights)
        return model, clip_student(model, "own")

    return _open


def photos(student: ClipStudent) -> Tensor:
    size = (student.image.height, student.image.width)
    return torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("tower", "grid"),
    [
        ("vit", (4, 4)),
        ("wide", (4, 6)),
        ("resnet", (2, 2)),
        ("map", (10, 10)),
        ("tokens", (10, 10)),
        ("convnext", (5, 5)),
    ],
)
@torch.inference_mode()
def test_the_global_vector_is_encode_image_and_every_patch_has_one(
    opened: Open, tower: str, grid: tuple[int, int]
) -> None:
    model, student = opened(tower)
    images = photos(student)
    vectors = student(images)
    assert torch.equal(vectors.global_vectors, model.encode_image(images))
    assert student.grid == grid
    assert vectors.patches.shape == (3, grid[0] * grid[1], student.dim)
    assert vectors.patches.std(dim=1).min() > 0


@torch.inference_mode()
def test_own_patches_of_a_vit_are_its_tokens_normed_and_projected(opened: Open) -> None:
    model, student = opened("vit")
    images, visual = photos(student), model.visual
    tokens = functional.conv2d(images, visual.conv1.weight, stride=8).flatten(2).mT
    cls = visual.class_embedding.expand(3, 1, -1)
    tokens = visual.ln_pre(torch.cat([cls, tokens], dim=1) + visual.positional_embedding)
    for block in visual.transformer.resblocks:
        tokens = block(tokens)
    expected = visual.ln_post(tokens) @ visual.proj
    vectors = student(images)
    torch.testing.assert_close(vectors.global_vectors, expected[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors.patches, expected[:, 1:], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_patch_of_a_resnet_is_its_pooling_with_all_attention_on_it(opened: Open) -> None:
    model, student = opened("resnet")
    images, visual = photos(student), model.visual
    pool = visual.attnpool
    cells = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
    second = cells[:, :, 0, 1] + pool.positional_embedding[2]  # row 0, column 1; 0 is the mean
    expected = pool.c_proj(pool.v_proj(second))
    torch.testing.assert_close(student(images).patches[:, 1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tower", ["map", "tokens", "convnext"])
@torch.inference_mode()
def test_an_own_patch_of_a_timm_tower_is_the_pooling_of_that_patch_alone(
    opened: Open, tower: str
) -> None:
    model, student = opened(tower)
    images, visual = photos(student), model.visual
    features = visual.trunk.forward_features(images)
    if features.ndim == 4:
        everywhere = features[:, :, 1:2, 2:3].expand_as(features)
        number = 1 * 5 + 2
    else:
        prefix = visual.trunk.num_prefix_tokens
        everywhere = features[:, prefix + 7 : prefix + 8].expand_as(features)
        number = 7
    expected = visual.head(visual.trunk.forward_head(everywhere))
    torch.testing.assert_close(student(images).patches[:, number], expected, rtol=0, atol=1e-5)


def test_the_pixels_are_those_of_open_clip(opened: Open) -> None:
    model, student = opened("wide")
    assert (student.image.height, student.image.width) == (32, 48)
    assert student.image.mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-3)
    assert student.image.resize == "crop"
    model.visual.preprocess_cfg["resize_mode"] = "longest"
    with pytest.raises(ModelError, match='resized by "longest" are not supported'):
        clip_student(model)


def test_towers_whose_patches_have_no_vectors_are_refused(opened: Open) -> None:
    with pytest.raises(ModelError, match="pools its patches with queries"):
        opened("coca")


def test_a_state_is_loaded_and_another_one_refused(opened: Open) -> None:
    _, student = opened("vit")
    state = {name: tensor + 1 for name, tensor in student.state().items()}
    student.load(state, source="the test")
    assert torch.equal(student.state()["proj"], state["proj"])
    with pytest.raises(ModelError, match=r"the test does not fit this student: .* are missing"):
        student.load({}, source="the test")
