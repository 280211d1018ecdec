"""Three ways from rows of a dataset to the student's vectors, with one interface.

`FeatureSource` reads cached features and runs the heads; `PhotoSource` decodes and augments photos
and runs the whole student; `VectorSource` reads cached vectors. Each gives the same batches for the
same (seed, epoch); of several processes each gives its part of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.models.normalizer import Normalizer
from mkt_search.models.student import Student, StudentVectors
from mkt_search.types import ImageSpec
from training.data.augment import NO_CHANGE, Augmentation
from training.data.features import FeatureCache
from training.data.photos import PhotoPixels, loader
from training.runs.processes import ALONE, Processes

# The second number of a seed, so that each purpose draws from its own stream.
ORDER_STREAM, VIEW_STREAM, PIXEL_STREAM, LABEL_STREAM = 3, 4, 5, 6


Heads = Callable[[Tensor, Tensor], StudentVectors]
"""cls (B, C), patches (B, P, C) -> vectors."""

PatchTeacher = Callable[[Tensor], Tensor]
"""Pixels (B, H, W, 3) uint8 that the student sees -> the teacher's patch vectors (B, P, D)."""


@dataclass(frozen=True)
class Batch:
    """Rows (B,) of a dataset, which of them are readable (B,), and the student's vectors.

    `teacher_patches` (B, P, D) are the teacher's patch vectors of the same pixels, if it gives any.
    """

    rows: Rows
    is_readable: NDArray[np.bool_]
    vectors: StudentVectors
    teacher_patches: Tensor | None = None


class Source(Protocol):
    """Gives the student's vectors of photos."""

    def training_batches(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield full batches in the epoch's order, augmented, with gradients, without anchor."""

    def ordered_batches(self, rows: Rows) -> Iterator[Batch]:
        """Yield every row in the order given, as it is, without gradients."""


def shuffled(rows: Rows, *, seed: int, epoch: int) -> Rows:
    """Return the rows in the order of an epoch."""
    return np.random.default_rng([seed, ORDER_STREAM, epoch]).permutation(rows)


def full_batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Cut rows into batches of `size`; drop a partial last one unless it is the only one."""
    for start in range(0, steps_per_epoch(len(rows), size) * size, size):
        yield rows[start : start + size]


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Return how many batches `full_batches` cuts; 1 for fewer photos than a batch."""
    return max(photos // batch_size, 1)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device; to a GPU asynchronously."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class FeatureSource:
    """Cached features through the student's heads."""

    def __init__(
        self,
        student: Student,
        cache: FeatureCache,
        *,
        batch_size: int,
        seed: int,
        processes: Processes = ALONE,
    ) -> None:
        self._processes = processes
        self._student = student
        self._cache = cache
        self._batch_size = batch_size
        self._seed = seed

    def training_batches(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield shuffled batches; of a photo with two views, one at random."""
        rng = np.random.default_rng([self._seed, VIEW_STREAM, epoch])
        order = shuffled(rows, seed=self._seed, epoch=epoch)
        for chosen in full_batches(order, self._batch_size):
            views = rng.integers(self._cache.views, size=len(chosen))
            part = self._processes.part
            yield self._batch(part(chosen), part(views), self._student.project)

    @torch.no_grad()
    def ordered_batches(self, rows: Rows) -> Iterator[Batch]:
        """Yield batches in order, of view 0."""
        for start in range(0, len(rows), self._batch_size):
            chosen = rows[start : start + self._batch_size]
            views = np.zeros(len(chosen), np.int64)
            yield self._batch(chosen, views, self._student.anchored)

    def _batch(self, rows: Rows, views: NDArray[np.int64], heads: Heads) -> Batch:
        cls, patches = self._cache.get(rows, views)
        device = next(self._student.parameters()).device
        vectors = heads(to_device(cls, device), to_device(patches, device))
        return Batch(rows, self._cache.is_readable[rows], vectors)


class VectorSource:
    """Cached vectors of a student that does not learn, on a device."""

    def __init__(
        self,
        cache: FeatureCache,
        *,
        device: torch.device,
        batch_size: int,
        seed: int,
        processes: Processes = ALONE,
    ) -> None:
        self._processes = processes
        self._cache = cache
        self._device = device
        self._batch_size = batch_size
        self._seed = seed

    def training_batches(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield shuffled batches."""
        order = shuffled(rows, seed=self._seed, epoch=epoch)
        for chosen in full_batches(order, self._batch_size):
            yield self._batch(self._processes.part(chosen))

    def ordered_batches(self, rows: Rows) -> Iterator[Batch]:
        """Yield batches in order."""
        for start in range(0, len(rows), self._batch_size):
            yield self._batch(rows[start : start + self._batch_size])

    def _batch(self, rows: Rows) -> Batch:
        cls, patches = self._cache.get(rows)
        vectors = StudentVectors(to_device(cls, self._device), to_device(patches, self._device))
        return Batch(rows, self._cache.is_readable[rows], vectors)


class PhotoSource:
    """Photos through the whole student, for blocks that learn.

    Args:
        augmentation: of training photos.
        workers: processes that decode.
        in_bfloat16: run the student and the teacher under autocast.
        patch_teacher: sees what the student sees of training photos.
        processes: that train together.
    """

    def __init__(
        self,
        student: nn.Module,
        dataset: PhotoDataset,
        spec: ImageSpec,
        *,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        workers: int,
        in_bfloat16: bool,
        patch_teacher: PatchTeacher | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self._processes = processes
        self.device = next(student.parameters()).device
        self.in_bfloat16 = in_bfloat16
        self._student = student
        self._dataset = dataset
        self._spec = spec
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._patch_teacher = patch_teacher
        self._normalizer = Normalizer(spec, self.device)

    def training_batches(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield shuffled batches of augmented photos."""
        order = shuffled(rows, seed=self._seed, epoch=epoch)
        parts = [self._processes.part(batch) for batch in full_batches(order, self._batch_size)]
        photos = self.pixels(np.concatenate(parts), epoch)
        yield from self._batches(photos, len(parts[0]), self._patch_teacher)

    @torch.no_grad()
    def ordered_batches(self, rows: Rows) -> Iterator[Batch]:
        """Yield batches in order, of photos as they are."""
        photos = PhotoPixels(self._dataset, rows, self._spec, augmentation=NO_CHANGE)
        yield from self._batches(photos, self._batch_size)

    def pixels(self, rows: Rows, epoch: int) -> PhotoPixels:
        """Return the augmented photos of an epoch."""
        return PhotoPixels(
            self._dataset,
            rows,
            self._spec,
            augmentation=self._augmentation,
            seed=(self._seed, PIXEL_STREAM, epoch),
        )

    def encode(self, pixels: Tensor) -> StudentVectors:
        """Normalize pixels (B, H, W, 3) uint8 on the device and run the student; float32."""
        images = self._normalizer(pixels)  # (B, 3, H, W)
        with self._autocast():
            vectors = self._student(images)
        return StudentVectors(*(part.float() for part in vectors))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bfloat16)

    def _batches(
        self, photos: PhotoPixels, batch_size: int, teacher: PatchTeacher | None = None
    ) -> Iterator[Batch]:
        batches = loader(
            photos,
            batch_size=batch_size,
            workers=self._workers,
            pinned=self.device.type == "cuda",
            low_priority=self.device.type == "cpu",
        )
        for rows, pixels, is_readable in batches:
            patches = None
            if teacher is not None:
                with self._autocast():
                    patches = teacher(pixels).float()
            yield Batch(rows.numpy(), is_readable.numpy(), self.encode(pixels), patches)
