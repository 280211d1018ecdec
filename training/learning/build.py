"""What stage 1 needs before its first step: student, teacher, what they say of photos, first heads.

Everything that can be refused is refused here, the cheap checks first.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mkt_search.datasets.dataset import Rows
from mkt_search.display import count_noun, first_few
from mkt_search.errors import TrainingError
from mkt_search.models.build import create_student
from mkt_search.models.encoder import choose_device, choose_dtype
from mkt_search.models.student import Student
from mkt_search.settings.config import Stage1Config
from mkt_search.types import ImageSpec
from training.data.augment import Augmentation
from training.data.features import FeatureCache, compute_features
from training.data.sources import FrozenSource, MovingSource, Source
from training.data.task import Task
from training.learning.heads import start_heads
from training.learning.teacher import (
    Teacher,
    TeacherVectors,
    compute_teacher_vectors,
    fill_backbone,
    open_teacher,
)
from training.plans import (
    TEACHER,
    backbone_options,
    frozen_depth,
    image_spec,
    uses_teacher,
)
from training.runs.history import Listener


@dataclass(frozen=True)
class Prepared:
    """A student at its start, on its device, and where its batches come from.

    `taught` are the teacher's vectors where there is something to distill, `told` is the teacher's
    story, `penalty` is that of the ridge start, and `is_told` whether the photos that cannot be
    read were named already.
    """

    student: Student
    spec: ImageSpec
    source: Source
    taught: TeacherVectors | None
    told: dict[str, Any] | None
    penalty: float
    is_told: bool


def prepare(
    config: Stage1Config,
    task: Task,
    teacher: Teacher | None,
    *,
    folder: Path,
    is_resumed: bool,
    listener: Listener,
) -> Prepared:
    """Build the student, and compute what stands still: features and the teacher's vectors.

    Args:
        folder: for what is computed once, when the settings name no other.
        is_resumed: the heads' weights come from a state and need no start.
    """
    student = build_student(config, dim=task.vectors.shape[1], teacher=teacher)
    student.to(choose_device(config.device))
    spec = image_spec(config, student.backbone, teacher.image if teacher else None)
    cache = None
    if config.frozen == "all" or config.feature_dim or config.start == "ridge":
        cache = features(config, task, student, spec, folder=folder, listener=listener)
    penalty = start_heads(config, task, student, cache, teacher, is_resumed=is_resumed)
    taught = None
    if teacher is not None and config.distill:
        taught = teacher_vectors(config, task, teacher, folder=folder, listener=listener)
        if cache is None:
            say_unreadable(task, np.flatnonzero(~taught.is_readable), listener)
    return Prepared(
        student=student,
        spec=spec,
        source=open_source(config, task, student, spec, cache),
        taught=taught,
        told=teacher.story() if teacher else None,
        penalty=penalty,
        is_told=cache is not None or taught is not None,
    )


def find_teacher(config: Stage1Config, task: Task, listener: Listener) -> Teacher | None:
    """Load the teacher that the settings name, if anything is asked of it.

    Raises:
        ModelError: there is no such model.
        TrainingError: its vectors are of another size than the labels'.
    """
    if not uses_teacher(config):
        if config.teacher:
            listener.say(
                f"the teacher {config.teacher} takes no part: --distill is 0, and neither --start"
                " nor --backbone-weights is teacher"
            )
        return None
    teacher = open_teacher(config.teacher)
    dim = task.vectors.shape[1]
    if teacher.dim != dim and (config.distill or config.start == TEACHER):
        raise TrainingError(
            f"the teacher {config.teacher} gives vectors of {teacher.dim} dimensions, the labels"
            f" have {dim}: its vectors say nothing in that space. Take the label vectors from its"
            f" own text tower, --text-model {config.teacher}, or another --teacher."
        )
    return teacher


def build_student(config: Stage1Config, *, dim: int, teacher: Teacher | None = None) -> Student:
    """Return the backbone with fresh heads, the same for the same seed, frozen as far as asked."""
    size = (config.image_height, config.image_width)
    options = backbone_options(config)
    is_file = config.backbone_weights not in ("", TEACHER)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        student = create_student(
            config.backbone,
            image_size=size,
            dim=dim,
            heads=config.heads,
            weights=Path(config.backbone_weights) if is_file else None,
            **options,
        )
        if teacher is not None and config.backbone_weights == TEACHER:
            fill_backbone(student, teacher, name=config.backbone, options=options, size=size)
    student.freeze(frozen_depth(config))
    return student


def features(
    config: Stage1Config,
    task: Task,
    student: Student,
    spec: ImageSpec,
    *,
    folder: Path,
    listener: Listener,
) -> FeatureCache:
    """Return what the backbone says of every photo, and tell which photos could not be read."""
    cache = compute_features(
        task.dataset,
        student,
        spec,
        folder=kept_in(config, folder),
        mirrored=config.flip and config.frozen == "all",  # else only the heads start from them
        device=config.device,
        dtype=config.dtype,
        workers=config.workers,
        progress=listener.on_photos,
    )
    say_unreadable(task, np.flatnonzero(~cache.is_readable), listener)
    return cache


def teacher_vectors(
    config: Stage1Config, task: Task, teacher: Teacher, *, folder: Path, listener: Listener
) -> TeacherVectors:
    """Return what the teacher says of every photo."""
    return compute_teacher_vectors(
        task.dataset,
        teacher,
        folder=kept_in(config, folder),
        device=config.device,
        workers=config.workers,
        progress=listener.on_photos,
    )


def kept_in(config: Stage1Config, folder: Path) -> Path:
    """Return where things that are computed once are kept."""
    return Path(config.cache) if config.cache else folder / "features"


def say_unreadable(task: Task, rows: Rows, listener: Listener) -> None:
    """Tell which photos take no part, if any."""
    names = task.files(rows)
    if names:
        listener.say(
            f"left out {count_noun(len(names), 'photo')} that cannot be read: {first_few(names)}"
        )


def open_source(
    config: Stage1Config,
    task: Task,
    student: Student,
    spec: ImageSpec,
    cache: FeatureCache | None,
) -> Source:
    """Return where batches come from: cached features, or the photos when blocks learn."""
    if config.frozen == "all" and cache is not None:
        return FrozenSource(student, cache, batch_size=config.batch_size, seed=config.seed)
    device = next(student.parameters()).device
    dtype = choose_dtype(config.dtype, device, is_convolutional=student.is_convolutional)
    return MovingSource(
        student,
        task.dataset,
        spec,
        augmentation=Augmentation(config.flip, config.crop_scale, config.randaugment),
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        in_bfloat16=dtype == "bfloat16",
    )
