"""Photos as pixels for a torch DataLoader: decoded, augmented and ready for the student.

What happens to a photo is decided by (seed, epoch, row) alone, so any number of workers and any
restart shows the student the very same pixels.
"""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mkt_search import images
from mkt_search.errors import PhotoError
from mkt_search.types import ImageSpec
from training.data import PhotoDataset
from training.split import Rows

if TYPE_CHECKING:
    from PIL import Image

WIDEST = 4 / 3  # aspect of a random crop, relative to the photo's; the narrowest is its inverse


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training photo. RandAugment finds its place here."""

    flip: bool = False
    crop_scale: float = 1.0

    def to_pixels(
        self, image: "Image.Image", spec: ImageSpec, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return (H, W, 3) pixels of the changed image; a random crop is squashed to fit."""
        if self.crop_scale < 1:
            image = image.crop(random_box(image.width, image.height, self.crop_scale, rng))
            spec = replace(spec, resize="squash")
        pixels = images.to_pixels(image, spec)
        return pixels[:, ::-1] if self.flip and rng.random() < 0.5 else pixels


NO_CHANGE = Augmentation()


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
        side = max(self.spec.height, self.spec.width)
        side = math.ceil(side / math.sqrt(self.augmentation.crop_scale))
        return images.decode(data, name=name, shorter_side=side).image


def loader(
    photos: PhotoPixels, *, batch_size: int, workers: int, drop_last: bool = False
) -> DataLoader[tuple[int, Tensor, bool]]:
    """Return batches of rows (B,), pixels (B, H, W, 3), is_readable (B,), in the order given."""
    return DataLoader(
        photos, batch_size=batch_size, num_workers=min(workers, len(photos)), drop_last=drop_last
    )


def random_box(
    width: int, height: int, smallest: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a part that has `smallest` of the area or more."""
    area = rng.uniform(smallest, 1)
    widest = min(math.log(WIDEST), abs(math.log(area)))  # so that neither side leaves the photo
    aspect = math.exp(rng.uniform(-widest, widest))
    w, h = round(width * math.sqrt(area * aspect)), round(height * math.sqrt(area / aspect))
    w, h = min(max(w, 1), width), min(max(h, 1), height)
    left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return left, top, left + w, top + h
