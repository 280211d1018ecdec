"""Heads on principal axes are plain linear heads in another form."""

from typing import Any

import pytest
import torch

from mkt_search.errors import TrainingError
from mkt_search.models.student import create_heads
from tests.tiny import tiny_student
from training.learning.pca import (
    PcaHead,
    add_empty_pca_heads,
    folded_state,
    principal_axes,
    project_heads_to_pca,
    trainable_layer,
)
from training.learning.ridge import Moments, stream_moments


@pytest.mark.parametrize("kind", ["linear", "shared"])
def test_pca_heads_fold_into_equivalent_linear_ones(kind: Any) -> None:
    student, cls, patches = tiny_student(), torch.randn(9, 16), torch.randn(9, 5, 16)
    student.global_head, student.local_head = create_heads(kind, 16, 16)
    plain = tiny_student(seed=1)
    plain.global_head, plain.local_head = create_heads(kind, 16, 16)
    found = stream_moments([(cls, patches, torch.randn(9, 16))])
    project_heads_to_pca(student, *principal_axes(*found, 7))
    plain.load(folded_state(student), source="here")
    for expected, vectors in zip(
        student.project(cls, patches), plain.project(cls, patches), strict=True
    ):
        torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)


def test_axes_keep_what_varies_most_and_are_scaled() -> None:
    cls = torch.randn(200, 3) * torch.tensor([10.0, 1.0, 0.01])
    found = stream_moments([(cls, cls[:, None], torch.zeros(200, 2))])
    mean, axes = principal_axes(*found, 2)
    seen = (cls - mean) @ axes
    assert seen.var(dim=0, correction=0).mean().item() == pytest.approx(1, rel=1e-3)
    assert axes[2].abs().max() < 1e-2 * axes[0].abs().max()


def some_moments(channels: int = 16) -> tuple[Moments, Moments]:
    return stream_moments(
        [(torch.randn(9, channels), torch.randn(9, 2, channels), torch.randn(9, 16))]
    )


@pytest.mark.parametrize("kind", ["linear", "shared"])
def test_empty_heads_take_the_state_of_filled_ones(kind: Any) -> None:
    first, second = tiny_student(), tiny_student(seed=1)
    for student in (first, second):
        student.global_head, student.local_head = create_heads(kind, 16, 16)
    project_heads_to_pca(first, *principal_axes(*some_moments(), 7))
    add_empty_pca_heads(second, 7)
    second.load_state_dict(first.state_dict())
    features = torch.randn(3, 16)
    torch.testing.assert_close(second.local_head(features), first.local_head(features))
    assert (second.global_head is second.local_head) == (kind == "shared")


def test_without_axes_the_heads_stay() -> None:
    student = tiny_student()
    head = student.global_head
    add_empty_pca_heads(student, 0)
    assert student.global_head is head and trainable_layer(head) is head


def test_the_linear_part_of_a_pca_head_learns() -> None:
    student = tiny_student()
    project_heads_to_pca(student, *principal_axes(*some_moments(), 3))
    assert isinstance(student.global_head, PcaHead)
    assert trainable_layer(student.global_head) is student.global_head.linear


def test_more_axes_than_channels_are_refused() -> None:
    with pytest.raises(TrainingError, match="--pca-dim is 17; this backbone has 16 channels"):
        principal_axes(*some_moments(), 17)


def test_heads_that_are_not_linear_are_refused() -> None:
    student = tiny_student()
    student.global_head, student.local_head = create_heads("mlp", 16, 16)
    with pytest.raises(TrainingError, match="--pca-dim needs --heads linear or shared"):
        project_heads_to_pca(student, torch.zeros(16), torch.zeros(16, 3))
