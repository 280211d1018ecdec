"""The initial heads: random, a ridge regression, or the teacher's projection."""

from dataclasses import dataclass
from typing import Literal

import torch

from mkt_search.models.student import HeadKind, Student, give_bias
from training.data.features import FeatureCache
from training.data.task import Task
from training.learning.losses import label_targets
from training.learning.pca import (
    add_empty_pca_heads,
    principal_axes,
    project_heads_to_pca,
    trainable_layer,
)
from training.learning.ridge import Moments, set_ridge_heads, stream_moments
from training.learning.teacher import Teacher, set_teacher_heads

MOMENT_BATCH_PHOTOS = 256


@dataclass(frozen=True)
class HeadInit:
    """What the heads are, and what they start as.

    Args:
        kind: linear, mlp or shared (one linear head for both streams).
        start: random weights, the ridge regression, or the teacher's projection.
        ridge: strength of the ridge, in total variances of the global features.
        pca_dim: principal axes of the features that linear heads see; 0 is all channels.
    """

    kind: HeadKind = "linear"
    start: Literal["random", "ridge", "teacher"] = "random"
    ridge: float = 0.0
    pca_dim: int = 0

    @property
    def needs_features(self) -> bool:
        """True when the start is computed from the features of all photos."""
        return self.start == "ridge" or bool(self.pca_dim)


def init_heads(
    student: Student,
    spec: HeadInit,
    task: Task,
    cache: FeatureCache | None,
    teacher: Teacher | None,
    *,
    seed: int,
    is_resumed: bool,
) -> float:
    """Give the student the heads that learn.

    Args:
        cache: features of all photos, for a start that needs them.
        teacher: for the start "teacher".
        is_resumed: the weights come from a saved state, so only the shapes matter.

    Returns:
        The penalty of the ridge; 0 without one, and for a resumed run, whose state has it.
    """
    if is_resumed:
        add_empty_pca_heads(student, spec.pca_dim)
        if spec.start == "ridge":
            give_bias(student.global_head)
        return 0.0
    if spec.start == "teacher" and teacher is not None:
        set_teacher_heads(student, teacher)
    if cache is None or not spec.needs_features:
        return 0.0
    by_cls, by_patch = feature_moments(task, cache)
    if spec.pca_dim:
        mean, axes = principal_axes(by_cls, by_patch, spec.pca_dim)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            project_heads_to_pca(student, mean, axes)
        by_cls, by_patch = by_cls.projected(mean, axes), by_patch.projected(mean, axes)
    if spec.start != "ridge":
        return 0.0
    heads = trainable_layer(student.global_head), trainable_layer(student.local_head)
    return set_ridge_heads(*heads, by_cls, by_patch, strength=spec.ridge)


def feature_moments(task: Task, cache: FeatureCache) -> tuple[Moments, Moments]:
    """Return the moments of cls and of patches with the label targets of the training photos."""
    labels = torch.from_numpy(task.vectors[: task.seen])
    targets = torch.from_numpy(task.seen_targets)
    rows = task.trainable[cache.is_readable[task.trainable]]
    size = MOMENT_BATCH_PHOTOS
    batches = [rows[first : first + size] for first in range(0, len(rows), size)]
    return stream_moments(
        (*cache.get(batch, view), label_targets(targets[torch.from_numpy(batch)], labels))
        for view in range(cache.views)
        for batch in batches
    )
