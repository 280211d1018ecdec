"""Where the heads start: random, by ridge regression, or as the teacher's projection."""

import torch

from mkt_search.models.student import Student
from mkt_search.settings.config import Stage1Config
from training.data.features import FeatureCache
from training.data.task import Task
from training.learning.losses import goals
from training.learning.pca import linear_of, main_axes, put_on_axes, put_on_empty_axes
from training.learning.ridge import Moments, set_heads, stream_moments
from training.learning.teacher import Teacher, fill_heads

BATCH = 256  # photos per step of the pass over the features


def start_heads(
    config: Stage1Config,
    task: Task,
    student: Student,
    cache: FeatureCache | None,
    teacher: Teacher | None,
    *,
    is_resumed: bool,
) -> float:
    """Make the heads that learn: set by ridge regression, on main axes, or the teacher's.

    Returns the ridge's penalty; 0 without one, and for a run that goes on, whose state has it.
    """
    if config.start == "teacher" and teacher is not None and not is_resumed:
        fill_heads(student, teacher)
    if config.start == "teacher":
        return 0.0
    if cache is None or (config.start == "random" and not config.feature_dim):
        return 0.0
    if is_resumed:
        put_on_empty_axes(student, config.feature_dim)
        return 0.0
    by_cls, by_patch = evidence(task, cache)
    if config.feature_dim:
        mean, axes = main_axes(by_cls, by_patch, config.feature_dim)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            put_on_axes(student, mean, axes)
        by_cls, by_patch = by_cls.along(mean, axes), by_patch.along(mean, axes)
    if config.start == "random":
        return 0.0
    heads = linear_of(student.global_head), linear_of(student.local_head)
    return set_heads(*heads, by_cls, by_patch, strength=config.ridge)


def evidence(task: Task, cache: FeatureCache) -> tuple[Moments, Moments]:
    """Return what the training photos' features say of their seen labels: of cls, of patches."""
    labels = torch.from_numpy(task.vectors[: task.seen])
    targets = torch.from_numpy(task.seen_targets)
    rows = task.learnable[cache.is_readable[task.learnable]]
    parts = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    return stream_moments(
        (*cache.get(part, view), goals(targets[torch.from_numpy(part)], labels))
        for view in range(cache.views)
        for part in parts
    )
