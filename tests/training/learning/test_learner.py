"""The student while it learns: the parts of its loss, who learns at which rate, what is kept."""

import copy
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mkt_search.models.build import create_student
from mkt_search.models.student import Student, StudentVectors
from mkt_search.settings.config import Stage1Config
from training.learning.learner import Learner, learned
from training.learning.losses import (
    distillation_loss,
    ranking_on,
    regression_loss,
    two_stream_scores,
)

CONFIG = Stage1Config(top_k=2, score="vocabulary", score_scale=1.0)


def vit(*, frozen: int = 0, depth: int = 3) -> Student:
    options = {"patch_size": 8, "embed_dim": 16, "depth": depth, "num_heads": 2}
    student = create_student(
        "vit_base_patch16_clip_224", image_size=(32, 32), dim=5, heads="shared", **options
    )
    student.freeze(frozen)
    return student


def some_batch() -> tuple[torch.Tensor, StudentVectors, torch.Tensor, Any]:
    rng = torch.Generator().manual_seed(0)
    labels = nn.functional.normalize(torch.randn(4, 5, generator=rng), dim=-1)
    vectors = StudentVectors(torch.randn(3, 5, generator=rng), torch.randn(3, 6, 5, generator=rng))
    targets = torch.tensor([[1, -1, -1, 0], [-1, 1, 1, -1], [0, 0, 0, 0]])
    taught = torch.randn(3, 5, generator=rng), torch.tensor([True, True, False])
    return labels, vectors, targets, taught


@pytest.mark.parametrize("on", ["raw", "unit"])
def test_the_loss_is_the_sum_of_its_parts_with_their_weights(on: Any) -> None:
    labels, vectors, targets, taught = some_batch()
    config = replace(CONFIG, regression=3.0, distill=0.7, distill_on=on)
    found = Learner(vit(), labels, config, penalty=0.0).losses(vectors, targets, taught)
    streams = two_stream_scores(labels, *vectors, k=2, kind="vocabulary")
    rank = ranking_on(streams, targets, on="fused", scale=1, margin=1, absent="keep")
    distance = regression_loss(*vectors, targets, labels)
    distill = distillation_loss(vectors.global_, *taught, on=on)
    torch.testing.assert_close(found["loss"], rank + 3.0 * distance + 0.7 * distill)
    assert list(found) == ["loss", "rank", "regression", "distill"]


def test_without_teacher_and_regression_the_loss_is_the_ranking_loss() -> None:
    labels, vectors, targets, _ = some_batch()
    found = Learner(vit(), labels, replace(CONFIG, regression=0.0)).losses(vectors, targets)
    assert list(found) == ["loss"] and found["loss"] > 0


def test_the_paper_s_student_learns_in_its_last_two_blocks_at_layer_wise_rates() -> None:
    student = vit(frozen=10, depth=12)
    config = Stage1Config(lr=1e-3, layer_decay=0.65, weight_decay=0.05)
    learner = Learner(student, torch.eye(5), config)
    names = {id(parameter): name for name, parameter in student.named_parameters()}
    found = {
        names[id(parameter)]: (group["share"], group["weight_decay"])
        for group in learner._optimizer.param_groups
        for parameter in group["params"]
    }
    assert {name.split(".")[2] for name in found if ".blocks." in name} == {"10", "11"}
    assert found["backbone.blocks.10.attn.qkv.weight"] == (pytest.approx(0.65**2), 0.05)
    assert found["backbone.blocks.11.mlp.fc1.weight"] == (pytest.approx(0.65), 0.05)
    assert found["backbone.blocks.11.norm1.weight"] == (pytest.approx(0.65), 0.0)
    assert found["backbone.norm.weight"] == (1.0, 0.0)
    assert found["global_head.weight"] == (1.0, 0.05)
    assert found["global_head.bias"] == (1.0, 0.0)
    assert not {"backbone.cls_token", "backbone.pos_embed"} & found.keys()


def test_class_token_and_positions_do_not_decay() -> None:
    student = vit()
    learner = Learner(student, torch.eye(5), Stage1Config(weight_decay=0.05))
    decaying = {
        id(parameter)
        for group in learner._optimizer.param_groups
        for parameter in group["params"]
        if group["weight_decay"]
    }
    assert id(student.backbone.cls_token) not in decaying
    assert id(student.backbone.pos_embed) not in decaying
    assert id(student.backbone.patch_embed.proj.weight) in decaying


def test_what_stands_still_is_not_kept_twice() -> None:
    names = set(learned(vit(frozen=2)))
    assert {"global_head.weight", "backbone.blocks.2.mlp.fc1.bias", "backbone.norm.bias"} <= names
    assert not {n for n in names if n.startswith(("backbone.blocks.0", "backbone.blocks.1"))}
    assert not {"backbone.cls_token", "backbone.pos_embed"} & names


def test_statistics_of_norms_are_kept_where_they_move() -> None:
    student = create_student("test_efficientnet", image_size=(32, 32), dim=5)
    student.freeze(0)
    assert any(name.endswith("running_mean") for name in learned(student))
    student.freeze("all")
    assert not any(name.endswith("running_mean") for name in learned(student))
    first = next(n for n, _ in student.backbone.named_buffers() if n.endswith("running_mean"))
    student.freeze(1)
    assert f"backbone.{first}" not in learned(student)
    assert any(name.endswith("running_mean") for name in learned(student))


@pytest.mark.parametrize("weights", ["", "some file"])
def test_batch_norms_of_a_loaded_backbone_keep_their_statistics(weights: str) -> None:
    student = create_student("test_efficientnet", image_size=(32, 32), dim=5)
    student.freeze(1)
    learner = Learner(student, torch.eye(5), Stage1Config(backbone_weights=weights, ema=0.5))
    before = {name: tensor.clone() for name, tensor in student.backbone.named_buffers()}
    targets, images = torch.tensor([[1, -1, -1, -1, -1]] * 2), torch.randn(2, 3, 32, 32)
    for _ in range(2):  # after a look at the photos too
        learner.train()
        assert student.training and student.backbone.blocks[-1].training
        learner.step(learner.losses(student(images), targets)["loss"], rate=0.01)
        with learner.settled() as kept:
            assert not kept.training
    moved = {n for n, t in student.backbone.named_buffers() if not torch.equal(t, before[n])}
    assert bool(moved) == (not weights), moved
    norms = [m for m in student.backbone.blocks[-1].modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all(norm.weight.grad is not None for norm in norms)  # their weights do learn


def test_the_fused_optimiser_takes_the_steps_of_the_plain_one() -> None:
    learner = Learner(vit(), torch.eye(5), Stage1Config(weight_decay=0.05))
    twin = copy.deepcopy(learner)
    assert learner._optimizer.defaults["fused"]
    groups = [{**group, "fused": False} for group in twin._optimizer.param_groups]
    twin._optimizer = torch.optim.AdamW(groups, fused=False)
    goal = [torch.randn_like(parameter) for parameter in learner.student.parameters()]
    for _ in range(5):
        for one in (learner, twin):
            pairs = zip(one.student.parameters(), goal, strict=True)
            one.step(torch.stack([(p - g).square().sum() for p, g in pairs]).sum(), rate=0.01)
    for mine, theirs in zip(learner.student.parameters(), twin.student.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_state_goes_on_where_another_learner_stood() -> None:
    labels, _, targets, _ = some_batch()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    config = Stage1Config(top_k=2, ema=0.5, weight_decay=0.05)

    def step(learner: Learner) -> None:
        learner.step(learner.losses(learner.student(images), targets)["loss"], rate=0.01)

    torch.manual_seed(0)
    first = Learner(vit(frozen=1), labels, config)
    second = Learner(vit(frozen=1), labels, config)
    second.student.load_state_dict(first.student.state_dict())
    step(first)
    stream = io.BytesIO()  # as it goes to disk
    torch.save(first.state(), stream)
    stream.seek(0)
    state = torch.load(stream, weights_only=True)
    second.load_state(state)
    step(first)
    step(second)
    with first.settled() as a, second.settled() as b:
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name


def test_settled_lends_the_averaged_weights_and_takes_them_back() -> None:
    labels, _, targets, _ = some_batch()
    student = vit()
    learner = Learner(student, labels, Stage1Config(ema=0.5, top_k=2))
    images = torch.randn(3, 3, 32, 32)
    for _ in range(3):
        learner.step(learner.losses(student(images), targets)["loss"], rate=0.1)
    own = student.global_head.weight.clone()  # type: ignore[operator, union-attr]
    with learner.settled() as kept:
        assert not torch.equal(kept.global_head.weight, own)  # type: ignore[arg-type]
    assert torch.equal(student.global_head.weight, own)  # type: ignore[arg-type]
    assert np.isfinite(float(own.detach().sum()))
