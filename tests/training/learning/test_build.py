"""The student that a run trains, and what it sees."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from mkt_search.errors import ModelError
from mkt_search.types import ImageSpec
from training.learning.build import BackboneSpec, build_student, image_spec

VIT: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
SPEC = BackboneSpec("vit_tiny_patch16_224", VIT, frozen=1, image_size=(32, 32))
CLIP_VIT = BackboneSpec("vit_base_patch16_clip_224", VIT, image_size=(32, 32))
TEACHER = ImageSpec(32, 32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "crop")


def test_the_seed_decides_the_weights() -> None:
    first, same, other = (
        build_student(SPEC, "linear", dim=3, seed=seed).state() for seed in (0, 0, 1)
    )
    assert all(torch.equal(tensor, same[name]) for name, tensor in first.items())
    assert not torch.equal(first["global_head.weight"], other["global_head.weight"])


def test_the_random_numbers_of_the_caller_are_not_touched() -> None:
    before = torch.get_rng_state()
    build_student(SPEC, "linear", dim=3, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_blocks_are_frozen() -> None:
    student = build_student(SPEC, "linear", dim=3, seed=0)
    learning = {n for n, p in student.named_parameters() if p.requires_grad}
    assert not any(name.startswith("backbone.blocks.0.") for name in learning)
    assert any(name.startswith("backbone.blocks.1.") for name in learning)


def test_more_blocks_than_there_are_cannot_be_frozen() -> None:
    with pytest.raises(ModelError, match="cannot freeze 7 blocks"):
        build_student(replace(SPEC, frozen=7), "linear", dim=3, seed=0)


def test_an_input_too_small_for_a_patch_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot encode images of 32 x 7"):
        build_student(replace(SPEC, image_size=(32, 7)), "linear", dim=3, seed=0)


@pytest.mark.parametrize(
    ("spec", "mean"),
    [
        (CLIP_VIT, (0.48145466, 0.4578275, 0.40821073)),  # timm's own
        (replace(CLIP_VIT, weights="teacher"), TEACHER.mean),
        (replace(CLIP_VIT, weights="teacher", mean=(0.7, 0.8, 0.9)), (0.7, 0.8, 0.9)),
    ],
    ids=["backbone", "teacher", "given"],
)
def test_mean_is_that_of_the_weights_unless_given(spec: BackboneSpec, mean: Any) -> None:
    student = build_student(replace(spec, weights=None), "linear", dim=3, seed=0)
    found = image_spec(spec, student, TEACHER)
    assert found.mean == pytest.approx(mean)
    assert (found.height, found.width, found.resize) == (32, 32, "squash")
