"""The initial heads: which start needs what, and what a resumed run skips."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mkt_search.models.student import Student, create_heads
from mkt_search.progress import no_progress
from tests.painted import painted_task
from tests.tiny import SIDE, tiny_student
from training.data.features import FeatureCache, compute_features
from training.data.task import Task
from training.learning.heads import HeadInit, feature_moments, init_heads
from training.learning.pca import PcaHead
from training.runs.spec import RunSpec


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return painted_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def cache(task: Task, tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    from mkt_search.types import ImageSpec

    spec = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    run = RunSpec(tmp_path_factory.mktemp("cache"), device="cpu", dtype="float32", workers=0)
    return compute_features(
        task.dataset, tiny_student(), spec, run, mirrored=False, progress=no_progress
    )


def student_of(kind: Any = "linear") -> Student:
    student = tiny_student()
    student.global_head, student.local_head = create_heads(kind, 16, 8)
    student.dim = 8
    return student


def started(
    spec: HeadInit, task: Task, cache: FeatureCache | None, *, is_resumed: bool = False
) -> tuple[Student, float]:
    student = student_of(spec.kind)
    return student, init_heads(student, spec, task, cache, None, seed=0, is_resumed=is_resumed)


@pytest.mark.parametrize(
    ("spec", "needs"),
    [
        (HeadInit(start="random"), False),
        (HeadInit(start="random", pca_dim=4), True),
        (HeadInit(start="ridge"), True),
        (HeadInit(start="teacher"), False),
    ],
)
def test_only_some_starts_need_features(spec: HeadInit, needs: bool) -> None:
    assert spec.needs_features == needs


def test_the_ridge_start_fits_the_training_photos(task: Task, cache: FeatureCache) -> None:
    student, penalty = started(HeadInit(start="ridge", ridge=0.01), task, cache)
    by_cls, _ = feature_moments(task, cache)
    assert penalty == pytest.approx(0.01 * float(by_cls.covariance.trace()))
    weight, bias = by_cls.solve(penalty)
    assert isinstance(student.global_head, nn.Linear)
    torch.testing.assert_close(student.global_head.weight.double(), weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(student.global_head.bias.double(), bias, atol=1e-5, rtol=1e-4)


def test_the_moments_are_those_of_readable_training_photos(task: Task, cache: FeatureCache) -> None:
    by_cls, by_patch = feature_moments(task, cache)
    assert by_cls.n == len(task.trainable) and by_patch.n == 16 * len(task.trainable)
    expected, _ = cache.get(task.trainable)
    torch.testing.assert_close(by_cls.x, expected.double().sum(0), atol=1e-4, rtol=1e-5)


def test_pca_heads_are_random_with_the_seed_or_set_by_the_ridge(
    task: Task, cache: FeatureCache
) -> None:
    first, same = (started(HeadInit(pca_dim=4), task, cache)[0] for _ in range(2))
    assert isinstance(first.global_head, PcaHead) and isinstance(same.global_head, PcaHead)
    assert torch.equal(first.global_head.linear.weight, same.global_head.linear.weight)
    ridge, penalty = started(HeadInit(start="ridge", ridge=0.1, pca_dim=4), task, cache)
    assert penalty == pytest.approx(0.1 * 4)  # the axes are scaled to a mean variance of 1
    assert isinstance(ridge.global_head, PcaHead)


def test_a_resumed_run_gets_the_shapes_alone(task: Task) -> None:
    spec = HeadInit(kind="shared", start="ridge", ridge=0.1, pca_dim=4)
    student, penalty = started(spec, task, None, is_resumed=True)
    assert penalty == 0.0 and student.global_head is student.local_head
    assert isinstance(student.global_head, PcaHead)
    assert student.global_head.axes.shape == (16, 4) and not student.global_head.axes.any()


def test_unreadable_photos_are_left_out(task: Task, cache: FeatureCache) -> None:
    row = task.trainable[0]
    before = cache.is_readable.copy()
    cache.is_readable[row] = False
    try:
        assert feature_moments(task, cache)[0].n == len(task.trainable) - 1
    finally:
        cache.is_readable[:] = before
    assert np.all(cache.is_readable)
