"""Three ways from rows of a dataset to the student's vectors, alike for the training loop.

`FrozenSource` reads cached features and runs the heads alone; `MovingSource` decodes and augments
photos and runs the whole student; `VectorSource` reads cached vectors. All give the same batches
for the same (seed, epoch).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.models.normalizer import Normalizer
from mkt_search.models.student import Student, StudentVectors
from mkt_search.types import ImageSpec
from training.data.augment import NO_CHANGE, Augmentation
from training.data.features import FeatureCache
from training.data.photos import PhotoPixels, loader

ORDER, VIEW, PIXELS, LABELS = 3, 4, 5, 6  # one stream of random numbers for each purpose


@dataclass(frozen=True)
class Batch:
    """Rows (B,) of a dataset, which of them could be read, and what the student says of them."""

    rows: Rows
    is_readable: NDArray[np.bool_]
    vectors: StudentVectors


class Source(Protocol):
    """Gives the student's vectors of photos."""

    def train(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield every row once in the epoch's order, augmented, with gradients."""

    def look(self, rows: Rows) -> Iterator[Batch]:
        """Yield the rows in order, as they are, without gradients."""


def shuffled(rows: Rows, *, seed: int, epoch: int) -> Rows:
    """Return the rows in the order of an epoch."""
    return np.random.default_rng([seed, ORDER, epoch]).permutation(rows)


def batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Cut rows into batches; a last one that is not full is left out unless it is the only one."""
    full = max(len(rows) // size, 1)
    for start in range(0, full * size, size):
        yield rows[start : start + size]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device, without waiting for what a GPU is at."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class FrozenSource:
    """Cached features through the student's heads."""

    def __init__(
        self, student: Student, cache: FeatureCache, *, batch_size: int, seed: int
    ) -> None:
        self._student = student
        self._cache = cache
        self._batch_size = batch_size
        self._seed = seed

    def train(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield shuffled batches; of a photo with two views either, at random."""
        rng = np.random.default_rng([self._seed, VIEW, epoch])
        for some in batches(shuffled(rows, seed=self._seed, epoch=epoch), self._batch_size):
            yield self._batch(some, rng.integers(self._cache.views, size=len(some)))

    @torch.no_grad()
    def look(self, rows: Rows) -> Iterator[Batch]:
        """Yield batches in order, of the photos as they are."""
        for start in range(0, len(rows), self._batch_size):
            some = rows[start : start + self._batch_size]
            yield self._batch(some, np.zeros(len(some), np.int64))

    def _batch(self, rows: Rows, views: NDArray[np.int64]) -> Batch:
        cls, patches = self._cache.get(rows, views)
        device = next(self._student.parameters()).device
        vectors = self._student.project(send(cls, device), send(patches, device))
        return Batch(rows, self._cache.is_readable[rows], vectors)


class VectorSource:
    """The cached vectors of a student that stands still as a whole, on a device."""

    def __init__(
        self, cache: FeatureCache, *, device: torch.device, batch_size: int, seed: int
    ) -> None:
        self._cache = cache
        self._device = device
        self._batch_size = batch_size
        self._seed = seed

    def train(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield shuffled batches."""
        for some in batches(shuffled(rows, seed=self._seed, epoch=epoch), self._batch_size):
            yield self._batch(some)

    def look(self, rows: Rows) -> Iterator[Batch]:
        """Yield batches in order."""
        for start in range(0, len(rows), self._batch_size):
            yield self._batch(rows[start : start + self._batch_size])

    def _batch(self, rows: Rows) -> Batch:
        global_, patches = self._cache.get(rows)
        vectors = StudentVectors(send(global_, self._device), send(patches, self._device))
        return Batch(rows, self._cache.is_readable[rows], vectors)


class MovingSource:
    """Photos through the whole student, because some of its blocks learn."""

    def __init__(
        self,
        student: Student,
        dataset: PhotoDataset,
        spec: ImageSpec,
        *,
        augmentation: Augmentation,
        batch_size: int,
        seed: int,
        workers: int,
        in_bfloat16: bool,
    ) -> None:
        self._student = student
        self._dataset = dataset
        self._spec = spec
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._seed = seed
        self._workers = workers
        self._in_bfloat16 = in_bfloat16
        self._device = next(student.parameters()).device
        self._normalizer = Normalizer(spec, self._device)

    def train(self, rows: Rows, epoch: int) -> Iterator[Batch]:
        """Yield shuffled batches of augmented photos."""
        order = shuffled(rows, seed=self._seed, epoch=epoch)
        kept = np.concatenate(list(batches(order, self._batch_size)))
        yield from self._run(kept, self._augmentation, (self._seed, PIXELS, epoch))

    @torch.no_grad()
    def look(self, rows: Rows) -> Iterator[Batch]:
        """Yield batches in order, of the photos as they are."""
        yield from self._run(rows, NO_CHANGE, ())

    def _run(
        self, rows: Rows, augmentation: Augmentation, seed: tuple[int, ...]
    ) -> Iterator[Batch]:
        found = loader(
            self._photos(rows, augmentation, seed),
            batch_size=self._batch_size,
            workers=self._workers,
            pinned=self._device.type == "cuda",
            is_courteous=self._device.type == "cpu",
        )
        for row, pixels, readable in found:
            yield Batch(row.numpy(), readable.numpy(), self._vectors(pixels))

    def _photos(self, rows: Rows, augmentation: Augmentation, seed: tuple[int, ...]) -> PhotoPixels:
        return PhotoPixels(self._dataset, rows, self._spec, augmentation=augmentation, seed=seed)

    def _vectors(self, pixels: Tensor) -> StudentVectors:
        """Normalise pixels (B, H, W, 3) uint8 on the device, and run the student."""
        images = self._normalizer(pixels)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._in_bfloat16):
            vectors = self._student(images)
        return StudentVectors(vectors.global_.float(), vectors.patches.float())
