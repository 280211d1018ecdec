"""Features of photos from a frozen backbone, computed once, so that an epoch takes seconds.

The cache is a folder of memory-mapped arrays, named after everything that decides their numbers:
the photos (name, size, modification time), the weights and the image spec. It is written in order
and records how many rows are done, so a killed run resumes.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.errors import TrainingError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.student import Student
from mkt_search.photos.decode import DECODER
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.types import ImageSpec
from training.data.cache import ArrayCache
from training.data.photos import PhotoPixels, loader
from training.runs.files import hold
from training.runs.spec import RunSpec

BATCH_PHOTOS = 32
FLOAT16_MAX = float(np.finfo(np.float16).max)

EncodeRows = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[Any]]]
"""Pixels (B, H, W, 3) of B photos -> B rows of each array, by name."""


class FeatureCache:
    """Features of N photos in V views: `cls` (V, N, C) and `patches` (V, N, P, C), float16.

    `is_readable` (N,) is False for photos that cannot be decoded; their features mean nothing.
    View 0 is the photo as it is, view 1 (where there are two) its mirror image.

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
        """Return cls (B, C) and patches (B, P, C) as float32; `views` is (B,) or one for all."""
        cls = torch.from_numpy(np.asarray(self.cls[views, rows], np.float32))
        return cls, torch.from_numpy(np.asarray(self.patches[views, rows], np.float32))


def compute_features(
    dataset: PhotoDataset,
    student: Student,
    spec: ImageSpec,
    run: RunSpec,
    *,
    mirrored: bool,
    progress: ProgressCallback,
) -> FeatureCache:
    """Return the backbone's features of every photo, from the cache as far as they are there.

    Args:
        mirrored: compute a second view of each photo, its mirror image.

    Raises:
        TrainingError: the backbone gives numbers that float16 cannot hold.
    """
    encoder = _backbone_encoder(student, spec, run)
    key = _key(dataset, student.backbone, spec, mirrored, encoder.dtype)
    return _compute(dataset, encoder, run, key, views=1 + mirrored, progress=progress)


def compute_vectors(
    dataset: PhotoDataset,
    encoder: PhotoEncoder,
    run: RunSpec,
    *,
    fingerprint: str,
    progress: ProgressCallback,
) -> FeatureCache:
    """Return a whole student's vectors of every photo: e_cls and e_patch in place of features.

    Args:
        encoder: the student, which never changes again.
        fingerprint: that of its checkpoint; vectors of another one are not reused.

    Raises:
        TrainingError: the student gives numbers that float16 cannot hold.
    """
    key = _digest(dataset, ["vectors", fingerprint, encoder.dtype]).hexdigest()[:16]
    return _compute(dataset, encoder, run, key, views=1, progress=progress)


def _compute(
    dataset: PhotoDataset,
    encoder: PhotoEncoder,
    run: RunSpec,
    key: str,
    *,
    views: int,
    progress: ProgressCallback,
) -> FeatureCache:
    def encode(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        found = encoder.encode(pixels)
        if not max(np.abs(found.global_vectors).max(), np.abs(found.patches).max()) < FLOAT16_MAX:
            raise TrainingError(
                "the student gives numbers beyond float16. Check that these are its weights, and"
                " that --mean and --std are those it was trained with."
            )
        parts = {"cls": found.global_vectors, "patches": found.patches}
        return {name: part.astype(np.float16) for name, part in parts.items()}

    folder = run.cache / key
    with hold(folder, wait=True):  # a second run waits, and then finds the work done
        arrays = ArrayCache(folder, views * len(dataset), is_hashed=False)
        fill(arrays, dataset, encoder.spec, encode, workers=run.workers, progress=progress)
    return FeatureCache(arrays, views=views)


def _backbone_encoder(student: Student, spec: ImageSpec, run: RunSpec) -> PhotoEncoder:
    """Return an encoder without heads: cls and patches. A copy, because the encoder casts it."""
    backbone = copy.deepcopy(student.backbone)
    bare = Student(backbone, nn.Identity(), nn.Identity(), dim=student.dim, grid=student.grid)
    return PhotoEncoder(bare, spec, device=run.device, dtype=run.dtype)


def fill(
    arrays: ArrayCache,
    dataset: PhotoDataset,
    spec: ImageSpec,
    encode: EncodeRows,
    *,
    workers: int,
    progress: ProgressCallback,
    step: str = "features",
    batch_size: int = BATCH_PHOTOS,
) -> None:
    """Add the missing rows of every photo, then of every mirrored photo.

    Args:
        arrays: as many rows as photos, or twice as many; gets `is_readable` as well.
        encode: pixels -> rows of each array.
        step: the name of the work, for `progress`.
    """
    failed = 0
    while not arrays.is_complete:
        view, start = divmod(arrays.done, len(dataset))
        photos = PhotoPixels(dataset, np.arange(start, len(dataset)), spec, mirror=bool(view))
        for _, pixels, is_readable in loader(photos, batch_size=batch_size, workers=workers):
            arrays.add({**encode(pixels.numpy()), "is_readable": is_readable.numpy()})
            failed += int((~is_readable).sum())
            progress(Progress(step, arrays.done, arrays.total, failed))


def _key(
    dataset: PhotoDataset, backbone: nn.Module, spec: ImageSpec, mirrored: bool, dtype: str
) -> str:
    digest = _digest(dataset, [spec.as_key(), mirrored, dtype])
    for name, tensor in sorted(backbone.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _digest(dataset: PhotoDataset, parts: list[Any]) -> "hashlib._Hash":
    """Return a hash of the photos and of `parts`, to which more can be added."""
    digest = hashlib.sha256(json.dumps([*parts, DECODER]).encode())
    for line in photo_lines(dataset):
        digest.update(line.encode(errors="surrogateescape"))
    return digest


def photo_lines(dataset: PhotoDataset) -> Iterator[str]:
    """Yield a line for each photo that changes when the photo does."""
    for name in dataset.files:
        try:
            status = (dataset.folder / name).stat()
            yield f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        except OSError:  # it cannot be decoded either, and is reported there
            yield f"{name}\0\n"
