"""What a frozen backbone says of every photo, computed once and kept: an epoch then takes seconds.

The cache is a folder of memory-mapped arrays named after all that decides the numbers: the photos
(name, size, time of change), the backbone's weights, the image spec. It is written in order and
says how far it got, so a killed run goes on where it stopped.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.errors import TrainingError
from mkt_search.models.encoder import Dtype, PhotoEncoder
from mkt_search.models.student import Student
from mkt_search.types import ImageSpec
from training.data.cache import ArrayCache
from training.data.photos import PhotoPixels, loader
from training.runs.files import hold

BATCH = 32
LARGEST = float(np.finfo(np.float16).max)


class FeatureCache:
    """Features of N photos in V views: `cls` (V, N, C), `patches` (V, N, P, C), float16.

    `is_readable` (N,) says which photos could be decoded; the others' features mean nothing.
    View 0 is the photo as it is, view 1 (where asked for) the photo mirrored.

    Args:
        arrays: `cls`, `patches` and `is_readable`, each with V x N rows, one view after the other.
        views: V.
    """

    def __init__(self, arrays: ArrayCache, *, views: int) -> None:
        found = arrays.arrays()
        photos = arrays.total // views
        self.cls: NDArray[np.float16] = found["cls"].reshape(views, photos, -1)
        patches = found["patches"]
        self.patches: NDArray[np.float16] = patches.reshape(views, photos, *patches.shape[1:])
        self.is_readable: NDArray[np.bool_] = np.array(found["is_readable"][:photos])

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
    return _filled(own, dataset, encoder, views=1 + mirrored, workers=workers, progress=progress)


def compute_vectors(
    dataset: PhotoDataset,
    encoder: PhotoEncoder,
    *,
    fingerprint: str,
    folder: Path,
    workers: int,
    progress: Callable[[int, int], None],
) -> FeatureCache:
    """Return what a whole student says of every photo: e_cls and e_patch in place of features.

    Args:
        encoder: the student; it never changes again.
        fingerprint: that of its checkpoint; under another one nothing is found again.

    Raises:
        TrainingError: the student gives numbers that float16 cannot hold.
    """
    digest = _digest(dataset, ["vectors", fingerprint, encoder.dtype])
    own = folder / digest.hexdigest()[:16]
    return _filled(own, dataset, encoder, views=1, workers=workers, progress=progress)


def _filled(
    folder: Path,
    dataset: PhotoDataset,
    encoder: PhotoEncoder,
    *,
    views: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> FeatureCache:
    def rows_of(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        found = encoder.encode(pixels)
        if not max(np.abs(found.global_).max(), np.abs(found.patches).max()) < LARGEST:
            raise TrainingError(
                "the student gives numbers beyond float16; are these its weights, and mean and std"
                " those it was trained with?"
            )
        parts = {"cls": found.global_, "patches": found.patches}
        return {name: part.astype(np.float16) for name, part in parts.items()}

    with hold(folder, wait=True):  # a second run waits and then finds the work done
        arrays = ArrayCache(folder, views * len(dataset), is_hashed=False)
        fill(arrays, dataset, encoder.spec, rows_of, workers=workers, progress=progress)
    return FeatureCache(arrays, views=views)


def _feature_encoder(
    student: Student, spec: ImageSpec, *, device: str, dtype: Dtype
) -> PhotoEncoder:
    """The backbone alone: `encode` then gives cls and patches. A copy, for the encoder casts it."""
    backbone = copy.deepcopy(student.backbone)
    bare = Student(backbone, nn.Identity(), nn.Identity(), dim=student.dim, grid=student.grid)
    return PhotoEncoder(bare, spec, device=device, dtype=dtype)


def fill(
    arrays: ArrayCache,
    dataset: PhotoDataset,
    spec: ImageSpec,
    rows_of: Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]],
    *,
    workers: int,
    progress: Callable[[int, int], None],
) -> None:
    """Add the rows that are missing of every photo, then of every photo mirrored.

    Args:
        arrays: as many rows as photos, or twice as many; gets `is_readable` besides.
        rows_of: pixels (B, H, W, 3) -> rows of each array, B each.
    """
    while not arrays.is_whole:
        view, start = divmod(arrays.done, len(dataset))
        photos = PhotoPixels(dataset, np.arange(start, len(dataset)), spec, mirror=bool(view))
        for _, pixels, is_readable in loader(photos, batch_size=BATCH, workers=workers):
            arrays.add({**rows_of(pixels.numpy()), "is_readable": is_readable.numpy()})
            progress(arrays.done, arrays.total)


def _key(
    dataset: PhotoDataset, backbone: nn.Module, spec: ImageSpec, mirrored: bool, dtype: str
) -> str:
    digest = _digest(dataset, [spec.as_key(), mirrored, dtype])
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _digest(dataset: PhotoDataset, parts: list[Any]) -> "hashlib._Hash":
    """A hash of the photos and of what else decides the numbers, to which more may be added."""
    digest = hashlib.sha256(json.dumps(parts).encode())
    for line in photo_lines(dataset):
        digest.update(line.encode(errors="surrogateescape"))
    return digest


def photo_lines(dataset: PhotoDataset) -> Iterator[str]:
    """Yield a line for each photo that changes when the photo does."""
    for name in dataset.files:
        try:
            status = (dataset.folder / name).stat()
            yield f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        except OSError:  # it cannot be read either, which is said once there
            yield f"{name}\0\n"
