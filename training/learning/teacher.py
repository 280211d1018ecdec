"""The teacher: the frozen image encoder of an open_clip model, and its vectors of every photo.

A student learns from a teacher in four ways, each with a setting of its own: its global vectors
follow the teacher's (`distill`), its patch vectors follow the teacher's (`distill_patches`), its
backbone starts as the teacher's own ViT (`backbone_weights`), and its heads start as the teacher's
projection (`head_init`).

For global vectors the teacher sees each photo once, as it is and prepared as its authors did, and
its vectors are cached. So they never follow a crop, a flip or RandAugment that the student sees.
A patch vector belongs to a place, so for these the teacher sees what the student sees, at each step
(`training.learning.patch_teacher`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.errors import TrainingError
from mkt_search.models.build import ClipModel
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
from mkt_search.photos.decode import DECODER
from mkt_search.progress import ProgressCallback
from mkt_search.scoring import unit
from mkt_search.types import Vector
from training.data.cache import ArrayCache
from training.data.features import BATCH_PHOTOS, fill, photo_lines
from training.runs.files import hold
from training.runs.spec import RunSpec

SAME_SPACE = 0.4  # mean cosine of centered vectors: above 0.8 with another prompt, else below 0.2
LEAST_COMPARED, MOST_COMPARED = 3, 256  # labels that tell spaces apart


class Teacher(nn.Module):
    """An image tower of open_clip, always in evaluation mode and without gradients.

    Args:
        visual: the tower, `model.visual`, on the CPU.
        name: the model's name in the settings.
        fingerprint: 12 hex digits over its weights and its image preparation.
    """

    grid = (0, 0)  # it gives no patches
    is_convolutional = False

    def __init__(self, visual: Any, *, name: str, fingerprint: str) -> None:
        super().__init__()
        self.visual = visual
        self.name = name
        self.fingerprint = fingerprint
        self.image = image_spec(visual)
        self.requires_grad_(False).eval()
        global_vectors, _ = self(torch.zeros(1, 3, self.image.height, self.image.width))
        self.dim = global_vectors.shape[1]

    @torch.no_grad()
    def forward(self, images: Tensor) -> StudentVectors:
        """Encode normalized images (B, 3, H, W): global vectors (B, D) as they are, no patches."""
        found = self.visual(images)
        global_vectors = found[0] if isinstance(found, tuple) else found  # CoCa adds its tokens
        return StudentVectors(global_vectors, global_vectors[:, None, :][:, :0])

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode."""
        super().train(False)
        return self

    def provenance(self) -> dict[str, Any]:
        """Return what `meta.json` records of the teacher, as plain values."""
        return {
            "model": self.name,
            "fingerprint": self.fingerprint,
            "dim": self.dim,
            "image": asdict(self.image),
        }


def open_teacher(spec: str) -> Teacher:
    """Load the image tower of an open_clip model: NAME/TAG, NAME/FILE, or the folder of one.

    Raises:
        ModelError: there is no such model, or its weights cannot be loaded.
    """
    weights = open_clip_weights(spec)
    return Teacher(weights.load().visual, name=spec, fingerprint=weights.fingerprint)


def require_label_space(
    teacher: Teacher, labels: Sequence[str], vectors: Vector, *, text_model: str
) -> None:
    """Refuse a teacher whose vectors do not lie in the label space.

    Spaces of the same width are told apart by the labels: the teacher's own text tower gives each
    nearly its label vector, whatever the prompt or the whitening.

    Args:
        labels: names of L labels.
        vectors: (L, D), their vectors.
        text_model: the open_clip model that gave the vectors; "" for a table.

    Raises:
        TrainingError: its vectors have another length, or are of another space.
    """
    if teacher.dim != vectors.shape[1]:
        differs = f"of {teacher.dim} dimensions, the labels have {vectors.shape[1]}"
    elif text_model and teacher_fingerprint(text_model) == teacher.fingerprint:
        return
    elif _is_of_space(teacher, labels[:MOST_COMPARED], vectors[:MOST_COMPARED]):
        return
    else:
        differs = "of as many dimensions as the labels but of another space"
    raise TrainingError(
        f"the teacher {teacher.name} gives vectors {differs}, so it cannot teach in theirs."
        f" Take the label vectors from its own text tower, --text-model {teacher.name}, or another"
        " --teacher."
    )


def _is_of_space(teacher: Teacher, labels: Sequence[str], vectors: Vector) -> bool:
    """Return True where the teacher's text tower gives the labels nearly their vectors."""
    if len(labels) < LEAST_COMPARED:
        return True
    model = ClipModel(open_clip_weights(teacher.name), name=teacher.name)
    own, given = (unit(x - x.mean(axis=0)) for x in (model.plain_encoder.encode(labels), vectors))
    return float((own * given).sum(axis=1).mean()) >= SAME_SPACE


def teacher_fingerprint(spec: str) -> str:
    """Return the fingerprint of `open_teacher(spec)` without building the model."""
    return open_clip_weights(spec).fingerprint


class TeacherVectors:
    """The teacher's vectors of N photos: `vectors` (N, D) float32, not normalized, on disk.

    `is_readable` (N,) is False for photos that cannot be decoded; their vectors mean nothing.
    """

    def __init__(self, arrays: ArrayCache) -> None:
        found = arrays.arrays()
        self.vectors: NDArray[np.float32] = found["vectors"]
        self.is_readable: NDArray[np.bool_] = np.array(found["is_readable"])

    def get(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return the vectors (B, D) of some photos, and which of the photos have one (B,)."""
        vectors = torch.from_numpy(np.array(self.vectors[rows]))
        return vectors, torch.from_numpy(self.is_readable[rows])


def compute_teacher_vectors(
    dataset: PhotoDataset,
    teacher: Teacher,
    run: RunSpec,
    *,
    progress: ProgressCallback,
    batch_size: int = BATCH_PHOTOS,
    flush_every: int = 16,
) -> TeacherVectors:
    """Return the teacher's vectors of every photo, from the cache as far as they are there.

    The cache is named by the hash of the photos (name, size, modification time), the teacher's
    weights and its image spec; a damaged one is computed again. Arithmetic is float32 on any
    device.

    Raises:
        TrainingError: the teacher gives numbers that are not finite.
    """
    encoder = PhotoEncoder(teacher, teacher.image, device=run.device, dtype="float32")

    def encode(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        vectors = encoder.encode(pixels).global_vectors
        if not np.isfinite(vectors).all():
            raise TrainingError(
                f"the teacher {teacher.name} gives numbers that are not finite; its weights may be"
                " damaged. Download them again, or give another --teacher."
            )
        return {"vectors": vectors}

    folder = run.cache / f"teacher-{_key(dataset, teacher)}"
    with hold(folder, wait=True):  # a second run waits, and then finds the work done
        arrays = ArrayCache(folder, len(dataset), is_hashed=True, flush_every=flush_every)
        fill(
            arrays,
            dataset,
            teacher.image,
            encode,
            workers=run.workers,
            progress=progress,
            step="teacher vectors",
            batch_size=batch_size,
        )
    teacher.to("cpu")  # free the device for the student
    return TeacherVectors(arrays)


def _key(dataset: PhotoDataset, teacher: Teacher) -> str:
    parts = [teacher.fingerprint, teacher.image.as_key()]
    digest = hashlib.sha256(json.dumps([*parts, DECODER]).encode())
    for line in photo_lines(dataset):
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def load_teacher_backbone(
    student: Student, teacher: Teacher, *, name: str, options: dict[str, Any], size: tuple[int, int]
) -> None:
    """Give a student's backbone the weights of the teacher's own tower.

    Args:
        name: the timm architecture of the backbone, and `options` its further arguments.
        size: height and width of the student's input; where the teacher's differs, the position
            embedding is resampled.

    Raises:
        ModelError: no timm architecture computes what the tower does.
        TrainingError: the student's architecture does not; the text names the one that does.
    """
    teacher_size = teacher.image.height, teacher.image.width
    known, known_options = timm_backbone_of(teacher.visual)
    state = timm_state(teacher.visual)
    filled = create_backbone(name, image_size=teacher_size, **options)
    problem = describe_difference(filled.state_dict(), state)
    if not problem:
        filled.load_state_dict(state, strict=False)
        twin = create_backbone(known, image_size=teacher_size, **known_options)
        twin.load_state_dict(state, strict=False)
        problem = "" if _agree(filled, twin, teacher_size) else "its output differs with them"
    if problem:
        raise TrainingError(
            f"--backbone {name} cannot take the weights of the teacher {teacher.name}: {problem}."
            f" The teacher's own architecture is {_as_flags(known, known_options)}."
        )
    if teacher_size != size and hasattr(filled, "set_input_size"):
        filled.set_input_size(size)  # type: ignore[operator]
    student.backbone.load_state_dict(filled.state_dict())


@torch.no_grad()
def set_teacher_heads(student: Student, teacher: Teacher) -> None:
    """Set both heads to the teacher's projection, so that they give its vectors.

    With the teacher's own backbone e_cls is then CLIP's image vector, and e_patch its tokens after
    the last block, projected like it.

    Raises:
        ModelError: the tower has no projection of its own.
        TrainingError: the heads are not linear, or of another size than the projection.
    """
    weight = projection(teacher.visual)  # (D, C)
    for head in (student.global_head, student.local_head):
        if not isinstance(head, nn.Linear):
            raise TrainingError("--head-init teacher needs --heads linear or shared.")
        if head.weight.shape != weight.shape:
            raise TrainingError(
                f"--head-init teacher: the projection of {teacher.name} maps {weight.shape[1]}"
                f" channels to {weight.shape[0]} dimensions, the student's heads map"
                f" {head.in_features} to {head.out_features}. Give --backbone-weights teacher."
            )
        head.weight.copy_(weight)
        if head.bias is not None:
            head.bias.zero_()


@torch.no_grad()
def _agree(first: nn.Module, second: nn.Module, size: tuple[int, int]) -> bool:
    """Return True when two backbones give the same output; equal weights do not ensure that."""
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
    """Return the flags that ask for an architecture; other flags decide its image size."""
    given = {key: value for key, value in options.items() if key != "img_size"}
    return " ".join(
        [f"--backbone {name}", *(f"--backbone-arg {key}={given[key]}" for key in given)]
    )
