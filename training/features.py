"""What a frozen backbone says of every photo, computed once and kept: an epoch then takes seconds.

The cache is a folder of memory-mapped arrays named after all that decides the numbers: the photos
(name, size, time of change), the backbone's weights, the image spec. It is written in order and
says how far it got, so a killed run goes on where it stopped.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.errors import TrainingError
from mkt_search.models.encoder import Dtype, PhotoEncoder
from mkt_search.models.student import Student
from mkt_search.types import ImageSpec
from training.data import PhotoDataset
from training.files import hold, write_atomically
from training.photos import PhotoPixels, loader

BATCH = 32
FLUSH_EVERY = 16  # batches between two notes of how far the cache got
LARGEST = float(np.finfo(np.float16).max)


class FeatureCache:
    """Features of N photos in V views: `cls` (V, N, C), `patches` (V, N, P, C), float16.

    `is_readable` (N,) says which photos could be decoded; the others' features mean nothing.
    View 0 is the photo as it is, view 1 (where asked for) the photo mirrored.
    """

    def __init__(self, folder: Path) -> None:
        self.cls: NDArray[np.float16] = np.load(folder / "cls.npy", mmap_mode="r")
        self.patches: NDArray[np.float16] = np.load(folder / "patches.npy", mmap_mode="r")
        self.is_readable: NDArray[np.bool_] = np.load(folder / "is_readable.npy")

    @property
    def views(self) -> int:
        """V: 2 with mirrored photos, else 1."""
        return len(self.cls)

    def get(self, rows: NDArray[np.int64], views: Any = 0) -> tuple[Tensor, Tensor]:
        """Return cls (B, C) and patches (B, P, C) as float32; `views` (B,) or one for all."""
        cls = torch.from_numpy(np.asarray(self.cls[views, rows], np.float32))
        return cls, torch.from_numpy(np.asarray(self.patches[views, rows], np.float32))


def compute_features(
    dataset: PhotoDataset,
    student: Student,
    spec: ImageSpec,
    *,
    folder: Path,
    mirrored: bool,
    device: str,
    dtype: Dtype,
    workers: int,
    progress: Callable[[int, int], None],
) -> FeatureCache:
    """Return the features of every photo, from the cache in `folder` as far as they are there.

    Raises:
        TrainingError: the backbone gives numbers that float16 cannot hold.
    """
    encoder = _feature_encoder(student, spec, device=device, dtype=dtype)
    own = folder / _key(dataset, student.backbone, spec, mirrored, encoder.dtype)
    own.mkdir(parents=True, exist_ok=True)
    with hold(own / "lock", wait=True):  # a second run waits and then finds the work done
        _fill(own, dataset, encoder, mirrored=mirrored, workers=workers, progress=progress)
    return FeatureCache(own)


def _feature_encoder(
    student: Student, spec: ImageSpec, *, device: str, dtype: Dtype
) -> PhotoEncoder:
    """The backbone alone: `encode` then gives cls and patches. A copy, for the encoder casts it."""
    backbone = copy.deepcopy(student.backbone)
    bare = Student(backbone, nn.Identity(), nn.Identity(), dim=student.dim, grid=student.grid)
    return PhotoEncoder(bare, spec, device=device, dtype=dtype)


def _fill(
    folder: Path,
    dataset: PhotoDataset,
    encoder: PhotoEncoder,
    *,
    mirrored: bool,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    views = 1 + mirrored
    total = views * len(dataset)
    note = folder / "progress.json"
    done = json.loads(note.read_text())["done"] if note.exists() else 0
    while done < total:  # one view after the other
        view, start = divmod(done, len(dataset))
        rows = np.arange(start, len(dataset))
        photos = PhotoPixels(dataset, rows, encoder.spec, mirror=bool(view))
        arrays: _Arrays | None = None
        for count, batch in enumerate(loader(photos, batch_size=BATCH, workers=workers), start=1):
            row, pixels, is_readable = (part.numpy() for part in batch)
            found = encoder.encode(pixels)
            shape = (views, len(dataset), *found.patches.shape[1:])
            arrays = arrays or _Arrays(folder, shape, is_new=not done)
            arrays.put(view, row, found.global_, found.patches, is_readable)
            done += len(row)
            if count % FLUSH_EVERY == 0 or done % len(dataset) == 0:
                arrays.flush()
                write_atomically(note, json.dumps({"done": done, "total": total}).encode())
            progress(done, total)


class _Arrays:
    """The arrays of a cache while they are written."""

    def __init__(self, folder: Path, shape: tuple[int, ...], *, is_new: bool) -> None:
        views, photos, _, channels = shape
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
            "cls": (np.float16, (views, photos, channels)),
            "patches": (np.float16, shape),
            "is_readable": (np.bool_, (photos,)),
        }
        mode: Literal["w+", "r+"] = "w+" if is_new else "r+"
        self._all = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode, dtype, size)
            for name, (dtype, size) in shapes.items()
        }

    def put(self, view: int, rows: Any, cls: Any, patches: Any, is_readable: Any) -> None:
        """Write one batch of one view."""
        if not max(np.abs(cls).max(), np.abs(patches).max()) < LARGEST:
            raise TrainingError(
                "the backbone gives features beyond float16; are these its weights, and --mean and"
                " --std those it was trained with?"
            )
        self._all["cls"][view, rows] = cls
        self._all["patches"][view, rows] = patches
        self._all["is_readable"][rows] = is_readable

    def flush(self) -> None:
        """Hand all that was put to the disk."""
        for array in self._all.values():
            array.flush()


def _key(
    dataset: PhotoDataset, backbone: nn.Module, spec: ImageSpec, mirrored: bool, dtype: str
) -> str:
    digest = hashlib.sha256(json.dumps([asdict(spec), mirrored, dtype]).encode())
    for line in _photo_lines(dataset):
        digest.update(line.encode(errors="surrogateescape"))
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _photo_lines(dataset: PhotoDataset) -> Iterator[str]:
    for name in dataset.files:
        status = (dataset.folder / name).stat()
        yield f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
