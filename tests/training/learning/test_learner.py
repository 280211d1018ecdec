"""The student while it learns: the parts of its loss, its norms, and its state."""

import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mkt_search.models.build import create_student
from mkt_search.models.student import StudentVectors
from tests.training.learning.test_schedule import vit
from training.learning.learner import Learner, TeacherBatch
from training.learning.losses import (
    LossSpec,
    RankingSpec,
    distillation_loss,
    patch_distillation_loss,
    ranking_loss_of,
    regression_loss,
    two_stream_scores,
)
from training.learning.schedule import OptimizerSpec

RANKING = RankingSpec(score="vocabulary", scale=1.0)
LOSS = LossSpec(k=2, ranking=RANKING)
OPTIMIZER = OptimizerSpec(epochs=1, batch_size=3, lr=0.01)


def learner(
    student: Any = None, labels: torch.Tensor | None = None, loss: LossSpec = LOSS, **optimizer: Any
) -> Learner:
    """A learner of ten steps."""
    labels = torch.eye(5) if labels is None else labels
    spec = replace(OPTIMIZER, **optimizer)
    return Learner(student or vit(), labels, loss, spec, steps_per_epoch=10)


def some_batch() -> tuple[torch.Tensor, StudentVectors, torch.Tensor, TeacherBatch]:
    rng = torch.Generator().manual_seed(0)
    labels = nn.functional.normalize(torch.randn(4, 5, generator=rng), dim=-1)
    vectors = StudentVectors(torch.randn(3, 5, generator=rng), torch.randn(3, 6, 5, generator=rng))
    targets = torch.tensor([[1, -1, -1, 0], [-1, 1, 1, -1], [0, 0, 0, 0]])
    known = torch.tensor([True, True, False])
    goal, patches = torch.randn(3, 5, generator=rng), torch.randn(3, 6, 5, generator=rng)
    teacher = TeacherBatch(known, goal, patches)
    return labels, vectors, targets, teacher


@pytest.mark.parametrize("on", ["raw", "unit"])
def test_the_loss_is_the_weighted_sum_of_its_parts(on: Any) -> None:
    labels, vectors, targets, teacher = some_batch()
    weights = {"regression": 3.0, "distill": 0.7, "distill_patches": 0.2}
    spec = replace(LOSS, distill_on=on, **weights)
    found = learner(labels=labels, loss=spec).losses(vectors, targets, teacher)
    rank = ranking_loss_of(
        two_stream_scores(labels, *vectors, k=2, kind="vocabulary"), targets, RANKING
    )
    distance = regression_loss(*vectors, targets, labels)
    known, goal, patches = teacher
    assert goal is not None and patches is not None
    distill = distillation_loss(vectors[0], goal, known, on=on)
    by_patch = patch_distillation_loss(vectors[1], patches, known)
    expected = rank + 3.0 * distance + 0.7 * distill + 0.2 * by_patch
    torch.testing.assert_close(found["loss"], expected)
    assert list(found) == ["loss", "rank", "regression", "distill", "patches"]


def test_without_teacher_and_regression_the_loss_is_the_ranking_loss() -> None:
    labels, vectors, targets, _ = some_batch()
    found = learner(labels=labels).losses(vectors, targets)
    assert list(found) == ["loss"] and found["loss"] > 0


def test_the_regression_carries_the_penalty_of_the_ridge() -> None:
    labels, vectors, targets, _ = some_batch()
    student, spec = vit(), replace(LOSS, regression=1.0)
    plain, ridge = (
        Learner(student, labels, spec, OPTIMIZER, steps_per_epoch=1, penalty=penalty)
        for penalty in (0.0, 0.5)
    )
    more = ridge.losses(vectors, targets)["loss"] - plain.losses(vectors, targets)["loss"]
    weight = student.get_parameter("global_head.weight")  # shared: it counts for both streams
    torch.testing.assert_close(more, 0.5 * 2 * weight.square().sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fixed", [False, True])
def test_batch_norms_of_a_loaded_backbone_keep_their_statistics(fixed: bool) -> None:
    student = create_student("test_efficientnet", image_size=(32, 32), dim=5)
    student.freeze(1)
    spec = replace(OPTIMIZER, ema=0.5)
    found = Learner(student, torch.eye(5), LOSS, spec, steps_per_epoch=10, fixed_norms=fixed)
    before = {name: tensor.clone() for name, tensor in student.backbone.named_buffers()}
    targets, images = torch.tensor([[1, -1, -1, -1, -1]] * 2), torch.randn(2, 3, 32, 32)
    for number in range(2):
        found.train()
        assert student.training and student.backbone.blocks[-1].training
        found.step(found.losses(student(images), targets)["loss"], number)
        with found.evaluation_weights() as lent:
            assert not lent.training
        assert student.training
    moved = {n for n, t in student.backbone.named_buffers() if not torch.equal(t, before[n])}
    assert bool(moved) == (not fixed), moved
    norms = [m for m in student.backbone.blocks[-1].modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and all(norm.weight.grad is not None for norm in norms)  # their weights learn


def test_the_fused_optimizer_takes_the_steps_of_the_plain_one() -> None:
    mine = learner(weight_decay=0.05)
    twin = copy.deepcopy(mine)
    assert mine.optimizer.defaults["fused"]
    groups = [{**group, "fused": False} for group in twin.optimizer.param_groups]
    plain = torch.optim.AdamW(groups, fused=False)
    goal = [torch.randn_like(parameter) for parameter in mine.student.parameters()]

    def distance(one: Learner) -> torch.Tensor:
        pairs = zip(one.student.parameters(), goal, strict=True)
        return torch.stack([(p - g).square().sum() for p, g in pairs]).sum()

    for number in range(5):
        mine.step(distance(mine), number)
        for group, own in zip(plain.param_groups, mine.optimizer.param_groups, strict=True):
            group["lr"] = own["lr"]
        plain.zero_grad()
        distance(twin).backward()  # type: ignore[no-untyped-call]
        plain.step()
    for first, second in zip(mine.student.parameters(), twin.student.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_a_step_returns_the_rate_of_the_heads() -> None:
    found = learner(lr=0.5, layer_decay=0.1)
    assert found.step(found.student.get_parameter("global_head.weight").sum(), 0) == 0.5


def test_a_learner_continues_from_the_state_of_another() -> None:
    labels, _, targets, _ = some_batch()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def step(one: Learner, number: int) -> None:
        one.step(one.losses(one.student(images), targets)["loss"], number)

    torch.manual_seed(0)
    first, second = (learner(vit(frozen=1), labels, ema=0.5, weight_decay=0.05) for _ in range(2))
    second.student.load_state_dict(first.student.state_dict())
    step(first, 0)
    stream = io.BytesIO()  # as it goes to disk
    torch.save(first.state(), stream)
    stream.seek(0)
    second.load_state(torch.load(stream, weights_only=True))
    step(first, 1)
    step(second, 1)
    with first.evaluation_weights() as a, second.evaluation_weights() as b:
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name


def test_evaluation_weights_are_the_averaged_ones_for_a_while() -> None:
    labels, _, targets, _ = some_batch()
    student = vit()
    found = learner(student, labels, ema=0.5, lr=0.1)
    images = torch.randn(3, 3, 32, 32)
    for number in range(3):
        found.step(found.losses(student(images), targets)["loss"], number)
    own = student.get_parameter("global_head.weight").clone()
    with found.evaluation_weights() as lent:
        assert not torch.equal(lent.get_parameter("global_head.weight"), own)
    assert torch.equal(student.get_parameter("global_head.weight"), own)


def test_weights_that_are_not_finite_are_noticed() -> None:
    found = learner()
    assert found.is_finite()
    with torch.no_grad():
        found.student.get_parameter("global_head.weight")[0] = float("inf")
    assert not found.is_finite()
