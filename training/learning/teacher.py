"""The teacher: the frozen image encoder of an open_clip model, and what it says of every photo.

A student learns from a teacher in three ways, each of its own setting: its global vectors follow
the teacher's (`distill`), its backbone starts as the teacher's own ViT (`backbone_weights`), and
its heads start as the teacher's projection (`start`).

The teacher sees each photo once, as it is and prepared as its authors did, and its vectors are
kept. So they never follow a crop, a flip or RandAugment that the student sees.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.errors import TrainingError
from mkt_search.models.clip import open_clip_weights
from mkt_search.models.clip_student import image_spec
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.student import (
    Student,
    StudentVectors,
    create_backbone,
    describe_difference,
)
from mkt_search.models.towers import projection, timm_backbone_of, timm_state
from training.data.cache import ArrayCache
from training.data.features import fill, photo_lines
from training.runs.files import hold


class Teacher(nn.Module):
    """An image tower of open_clip that never learns: evaluation mode and no gradients, for ever.

    Args:
        visual: the tower, `model.visual`, on the CPU.
        name: what the settings call the model.
        fingerprint: 12 hex digits over its weights and its preparation of images.
    """

    grid = (0, 0)  # of patches, of which it is asked nothing
    is_convolutional = False

    def __init__(self, visual: Any, *, name: str, fingerprint: str) -> None:
        super().__init__()
        self.visual = visual
        self.name = name
        self.fingerprint = fingerprint
        self.image = image_spec(visual)
        self.requires_grad_(False).eval()
        self.dim = self(torch.zeros(1, 3, self.image.height, self.image.width)).global_.shape[1]

    @torch.no_grad()
    def forward(self, images: Tensor) -> StudentVectors:
        """Encode normalised images (B, 3, H, W): `global_` (B, D), unscaled; no patches."""
        found = self.visual(images)
        global_ = found[0] if isinstance(found, tuple) else found  # CoCa gives its tokens too
        return StudentVectors(global_, global_[:, None, :][:, :0])

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode, whatever is asked."""
        super().train(False)
        return self

    def story(self) -> dict[str, Any]:
        """Return what a checkpoint tells of its teacher, as plain values."""
        return {
            "model": self.name,
            "fingerprint": self.fingerprint,
            "dim": self.dim,
            "image": asdict(self.image),
        }


def open_teacher(spec: str) -> Teacher:
    """Load the image tower of an open_clip model: NAME/TAG, NAME/FILE, or a folder of one.

    Raises:
        ModelError: it is none of these, or its weights cannot be had; the text says why.
    """
    weights = open_clip_weights(spec)
    return Teacher(weights.load().visual, name=spec, fingerprint=weights.fingerprint)


def teacher_fingerprint(spec: str) -> str:
    """Return the fingerprint of `open_teacher(spec)` without building the model."""
    return open_clip_weights(spec).fingerprint


class TeacherVectors:
    """What the teacher says of N photos: `vectors` (N, D) float32, unscaled, on disk.

    `is_readable` (N,) says which photos could be decoded; the others' vectors mean nothing.
    """

    def __init__(self, arrays: ArrayCache) -> None:
        found = arrays.arrays()
        self.vectors: NDArray[np.float32] = found["vectors"]
        self.is_readable: NDArray[np.bool_] = np.array(found["is_readable"])

    def get(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the vectors (B, D) of some photos, and which of them there are (B,)."""
        vectors = torch.from_numpy(np.array(self.vectors[rows]))
        return vectors, torch.from_numpy(self.is_readable[rows])


def compute_teacher_vectors(
    dataset: PhotoDataset,
    teacher: Teacher,
    *,
    folder: Path,
    device: str,
    workers: int,
    progress: Callable[[int, int], None],
) -> TeacherVectors:
    """Return the teacher's vectors of every photo, from the cache as far as they are there.

    The cache lies in `folder` under the hash of the photos (name, size, time of change), the
    teacher's weights and its image spec. Photos it cannot read, it marks. A cache that was damaged
    is made again. The arithmetic is float32 on any device.

    Raises:
        TrainingError: the teacher gives something else than finite numbers.
    """
    encoder = PhotoEncoder(teacher, teacher.image, device=device, dtype="float32")

    def rows_of(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        vectors = encoder.encode(pixels).global_
        if not np.isfinite(vectors).all():
            raise TrainingError(
                f"the teacher {teacher.name} gives numbers that are not finite; are its weights"
                " damaged? Give another --teacher."
            )
        return {"vectors": vectors}

    own = folder / f"teacher-{_key(dataset, teacher)}"
    with hold(own, wait=True):  # a second run waits and then finds the work done
        arrays = ArrayCache(own, len(dataset), is_hashed=True)
        fill(arrays, dataset, teacher.image, rows_of, workers=workers, progress=progress)
    teacher.to("cpu")  # the device is the student's now
    return TeacherVectors(arrays)


def _key(dataset: PhotoDataset, teacher: Teacher) -> str:
    parts = [teacher.fingerprint, teacher.image.as_key()]
    digest = hashlib.sha256(json.dumps(parts).encode())
    for line in photo_lines(dataset):
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def fill_backbone(
    student: Student, teacher: Teacher, *, name: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Give a student's backbone the weights of the teacher's own tower.

    Args:
        name: the timm architecture of the backbone, and `options` its further arguments.
        size: height and width of what the student sees; where the teacher sees another, the
            position embedding is resampled.

    Raises:
        ModelError: no timm architecture computes what the tower does.
        TrainingError: another does than that of the student; the text names it.
    """
    seen = teacher.image.height, teacher.image.width
    known, known_options = timm_backbone_of(teacher.visual)
    state = timm_state(teacher.visual)
    filled = create_backbone(name, image_size=seen, **options)
    problem = describe_difference(filled.state_dict(), state)
    if not problem:
        filled.load_state_dict(state, strict=False)
        twin = create_backbone(known, image_size=seen, **known_options)
        twin.load_state_dict(state, strict=False)
        problem = "" if _agree(filled, twin, seen) else "it computes something else with them"
    if problem:
        raise TrainingError(
            f"--backbone {name} cannot take the weights of the teacher {teacher.name}: {problem}."
            f" The teacher's own architecture is {_as_flags(known, known_options)}."
        )
    if seen != size and hasattr(filled, "set_input_size"):
        filled.set_input_size(size)  # type: ignore[operator]
    student.backbone.load_state_dict(filled.state_dict())


@torch.no_grad()
def fill_heads(student: Student, teacher: Teacher) -> None:
    """Let both heads be the teacher's projection, so that they give its vectors.

    With the teacher's own backbone e_cls is then CLIP's image vector, and e_patch the dense vectors
    of MaskCLIP (Zhou et al., ECCV 2022; https://arxiv.org/abs/2112.01071).

    Raises:
        ModelError: the tower has no projection of its own.
        TrainingError: it is of another size than the student's heads.
    """
    weight = projection(teacher.visual)  # (D, C)
    for head in (student.global_head, student.local_head):
        if not isinstance(head, nn.Linear):
            raise TrainingError("--start teacher needs --heads linear or shared.")
        if head.weight.shape != weight.shape:
            raise TrainingError(
                f"--start teacher: the projection of {teacher.name} takes {weight.shape[1]}"
                f" channels to {weight.shape[0]} dimensions, the student's heads"
                f" {head.in_features} to {head.out_features}. Give --backbone-weights teacher."
            )
        head.weight.copy_(weight)
        head.bias.zero_()


@torch.no_grad()
def _agree(first: nn.Module, second: nn.Module, size: tuple[int, int]) -> bool:
    """True when two backbones say the same of an image; equal weights alone do not make them."""
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    found, expected = (
        backbone.eval().forward_features(image)  # type: ignore[operator]
        for backbone in (first, second)
    )
    scale = float(expected.abs().max())
    return found.shape == expected.shape and bool(
        torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)
    )


def _as_flags(name: str, options: dict[str, Any]) -> str:
    """The flags that ask for an architecture; its image size follows from other flags."""
    given = {key: value for key, value in options.items() if key != "img_size"}
    return " ".join(
        [f"--backbone {name}", *(f"--backbone-arg {key}={given[key]}" for key in given)]
    )
