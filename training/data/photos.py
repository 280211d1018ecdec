"""Photos as pixels for a torch DataLoader: decoded and augmented.

The augmentation of a photo depends on (seed, epoch, row) alone, so any number of workers and any
restart give the same pixels.
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
from mkt_search.photos import decode
from mkt_search.types import ImageSpec
from training.data.augment import NO_CHANGE, Augmentation

if TYPE_CHECKING:
    from PIL import Image
    from torch.utils.data.dataloader import _BaseDataLoaderIter

WORKER_NICENESS = 10  # added to that of workers that share the student's processor


class PhotoPixels(Dataset[tuple[int, Tensor, bool]]):
    """Rows of a dataset as (row, pixels (H, W, 3) uint8 RGB, is_readable).

    A photo that cannot be decoded is black and not readable.

    Args:
        dataset: where the photos are.
        rows: which of them, in the order to give them.
        spec: the student's input.
        augmentation: changes made to each photo.
        seed: numbers that decide the augmentation, the epoch among them.
        mirror: mirror every photo.
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
        data = decode.read(self.dataset.folder / name)
        side = self.spec.decode_side
        if side is not None:  # the smallest random crop must not be enlarged
            side = math.ceil(side / math.sqrt(self.augmentation.crop_scale))
        return decode.decode(data, name=name, shorter_side=side).image


class InterruptibleLoader(DataLoader[tuple[int, Tensor, bool]]):
    """A loader that leaves Ctrl-C to the process that started its workers.

    SIGINT is blocked while workers are forked: raised inside a fork it would be lost.
    """

    def __iter__(self) -> "_BaseDataLoaderIter":
        """Start the workers."""
        with interrupts_deferred(), without_worker_warning():
            return super().__iter__()


@contextlib.contextmanager
def without_worker_warning() -> Iterator[None]:
    """Silence torch's warning about more workers than cores: a slow disk may need them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


@contextlib.contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Raise KeyboardInterrupt after the block; processes started in it ignore Ctrl-C.

    Raises:
        KeyboardInterrupt: after the block, if Ctrl-C was pressed during it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    received: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if received:
        raise KeyboardInterrupt


def lower_priority(worker: int) -> None:
    """Lower the priority of this process; torch calls it in each worker as it starts."""
    if hasattr(os, "nice"):  # not on Windows
        os.nice(WORKER_NICENESS)


def loader(
    photos: PhotoPixels,
    *,
    batch_size: int,
    workers: int,
    pinned: bool = False,
    low_priority: bool = False,
) -> DataLoader[tuple[int, Tensor, bool]]:
    """Return batches of rows (B,), pixels (B, H, W, 3) and is_readable (B,), in the order given.

    Args:
        workers: processes that decode while the device computes; 0 decodes in this one.
        pinned: use page-locked memory, from which a GPU copies asynchronously.
        low_priority: run workers at lower priority, for a student on the same processor: its
            threads wait for the slowest of them, so one that shares a core delays all.
    """
    with without_worker_warning():
        return InterruptibleLoader(
            photos,
            batch_size=batch_size,
            num_workers=min(workers, len(photos)),
            pin_memory=pinned,
            worker_init_fn=lower_priority if low_priority else None,
        )
