"""Photos as pixels for a torch DataLoader: decoded, augmented and ready for the student.

What happens to a photo is decided by (seed, epoch, row) alone, so any number of workers and any
restart shows the student the very same pixels.
"""

import contextlib
import math
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.errors import PhotoError
from mkt_search.photos import decode as images
from mkt_search.types import ImageSpec
from training.data.augment import NO_CHANGE, Augmentation

if TYPE_CHECKING:
    from PIL import Image
    from torch.utils.data.dataloader import _BaseDataLoaderIter

COURTESY = 10  # added to the niceness of workers that share the student's processor


class PhotoPixels(Dataset[tuple[int, Tensor, bool]]):
    """Rows of a dataset as (row, pixels (H, W, 3) uint8, is_readable).

    A photo that cannot be decoded is black and not readable: it takes no part and is counted.

    Args:
        dataset: where the photos are.
        rows: which of them, in the order to give them.
        spec: what the student wants to see.
        augmentation: what is done to each photo.
        seed: numbers that decide the augmentation, the epoch among them.
        mirror: show every photo mirrored.
    """

    def __init__(
        self,
        dataset: PhotoDataset,
        rows: Rows,
        spec: ImageSpec,
        *,
        augmentation: Augmentation = NO_CHANGE,
        seed: tuple[int, ...] = (),
        mirror: bool = False,
    ) -> None:
        self.dataset = dataset
        self.rows = rows
        self.spec = spec
        self.augmentation = augmentation
        self.seed = seed
        self.mirror = mirror

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[int, Tensor, bool]:
        row = int(self.rows[index])
        try:
            image = self._decode(row)
        except PhotoError:
            black = torch.zeros(self.spec.height, self.spec.width, 3, dtype=torch.uint8)
            return row, black, False
        rng = np.random.default_rng([*self.seed, row])
        pixels = self.augmentation.to_pixels(image, self.spec, rng)
        pixels = pixels[:, ::-1] if self.mirror else pixels
        return row, torch.from_numpy(np.ascontiguousarray(pixels)), True

    def _decode(self, row: int) -> "Image.Image":
        name = self.dataset.files[row]
        data = images.read(self.dataset.folder / name)
        side = self.spec.decode_side
        if side is not None:  # the smallest crop shall still have all pixels that are looked at
            side = math.ceil(side / math.sqrt(self.augmentation.crop_scale))
        return images.decode(data, name=name, shorter_side=side).image


class InterruptibleLoader(DataLoader[tuple[int, Tensor, bool]]):
    """A loader whose workers leave Ctrl-C to the process that started them.

    While workers are forked an interrupt is held back: raised inside a fork it would be lost.
    """

    def __iter__(self) -> "_BaseDataLoaderIter":
        """Start the workers."""
        with interrupts_held(), without_advice():
            return super().__iter__()


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Keep torch from advising fewer workers on every epoch: a slow disk may well want more."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Let Ctrl-C count after the block; processes started in it are never interrupted by it.

    Raises:
        KeyboardInterrupt: after the block, when Ctrl-C came in it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C is the main thread's
        return
    came: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if came:
        raise KeyboardInterrupt


def step_back(worker: int) -> None:
    """Let what else wants the processor go first; torch calls it in each worker as it starts."""
    if hasattr(os, "nice"):  # Windows has none
        os.nice(COURTESY)


def loader(
    photos: PhotoPixels,
    *,
    batch_size: int,
    workers: int,
    pinned: bool = False,
    is_courteous: bool = False,
) -> DataLoader[tuple[int, Tensor, bool]]:
    """Return batches of rows (B,), pixels (B, H, W, 3), is_readable (B,), in the order given.

    Workers are processes that decode while the device computes. `pinned` puts batches where a GPU
    can fetch them without waiting. `is_courteous` is for a student that runs on the same processor:
    each of its threads waits for the slowest, so one that shares a core with a worker holds up all.
    """
    with without_advice():
        return InterruptibleLoader(
            photos,
            batch_size=batch_size,
            num_workers=min(workers, len(photos)),
            pin_memory=pinned,
            worker_init_fn=step_back if is_courteous else None,
        )
