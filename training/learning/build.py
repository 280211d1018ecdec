"""Build the student that a run trains: backbone, frozen part, and what it sees."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from mkt_search.models.build import create_student
from mkt_search.models.student import HeadKind, Student
from mkt_search.types import ImageSpec, Resize
from training.learning.teacher import Teacher, load_teacher_backbone

Channels = tuple[float, float, float]  # red, green, blue


@dataclass(frozen=True)
class BackboneSpec:
    """The backbone and its input.

    Args:
        name: a timm architecture.
        options: further arguments of the architecture.
        weights: a local file, "teacher" for those of the teacher's own tower, or None: random.
        frozen: how many first blocks do not learn.
        image_size: height and width of the input, in pixels.
        resize: how a photo is fitted into it.
        mean: subtracted from each channel on [0, 1]; None is the teacher's where the weights are,
            else the backbone's own.
        std: what each channel is divided by; None likewise.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: Path | Literal["teacher"] | None = None
    frozen: int | Literal["all"] = "all"
    image_size: tuple[int, int] = (224, 224)
    resize: Resize = "squash"
    mean: Channels | None = None
    std: Channels | None = None


def build_student(
    spec: BackboneSpec, heads: HeadKind, *, dim: int, seed: int, teacher: Teacher | None = None
) -> Student:
    """Return the backbone with random heads, the same for the same seed, frozen as `spec` says.

    Args:
        dim: D, the length of a label vector.
        teacher: for the weights "teacher".

    Raises:
        ModelError: unknown backbone or argument, weights that do not fit, fewer blocks than
            `frozen`, or a teacher without a timm twin.
        TrainingError: the backbone is not the teacher's architecture.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = create_student(
            spec.name,
            image_size=spec.image_size,
            dim=dim,
            heads=heads,
            weights=spec.weights if isinstance(spec.weights, Path) else None,
            **spec.options,
        )
        if teacher is not None and spec.weights == "teacher":
            load_teacher_backbone(
                student, teacher, name=spec.name, options=spec.options, size=spec.image_size
            )
    student.freeze(spec.frozen)
    return student


def image_spec(spec: BackboneSpec, student: Student, teacher: ImageSpec | None = None) -> ImageSpec:
    """Return what the student sees; `teacher` is what the teacher sees, if there is one."""
    own = getattr(student.backbone, "pretrained_cfg", {})
    if teacher is not None and spec.weights == "teacher":
        own = {"mean": teacher.mean, "std": teacher.std}
    height, width = spec.image_size
    return ImageSpec(
        height,
        width,
        mean=spec.mean or _channels(own.get("mean", (0.5, 0.5, 0.5))),
        std=spec.std or _channels(own.get("std", (0.5, 0.5, 0.5))),
        resize=spec.resize,
    )


def _channels(values: Any) -> Channels:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
