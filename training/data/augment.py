"""Augmentation of training photos: random crop, flip, RandAugment.

The order is that of timm's training transform, which the paper uses: crop and resize, flip, then
RandAugment at the student's size. The generator that is passed in decides everything.
"""

import contextlib
import functools
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from timm.data.auto_augment import rand_augment_transform

from mkt_search.photos import decode
from mkt_search.types import ImageSpec

MAX_STRETCH = 4 / 3  # of a random crop's aspect, wider or narrower than the student's input
CROP_ATTEMPTS = 10  # boxes drawn before one that exceeds the photo is shrunk to fit
_NUMBER = r"\d+(\.\d+)?"
RANDAUGMENT_POLICY = re.compile(
    rf"rand(-(m\d+|n\d+|p{_NUMBER}|mstd{_NUMBER}|mmax\d+|inc[01]|t(weights|3aw?)))*"
)
"""What timm parses as a RandAugment policy, such as the paper's rand-m9-mstd0.5-inc1."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training photo.

    Args:
        flip: mirror half of the photos.
        crop_scale: smallest fraction of the photo's area that a random crop keeps; 1: no crops.
        randaugment: a policy in timm's syntax; "": none.
    """

    flip: bool = False
    crop_scale: float = 1.0
    randaugment: str = ""

    def to_pixels(
        self, image: Image.Image, spec: ImageSpec, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Return (H, W, 3) pixels of the changed image; a random crop is squashed to fit."""
        if self.crop_scale < 1:
            aspect = spec.width / spec.height if spec.resize == "crop" else None
            box = random_box(image.width, image.height, self.crop_scale, rng, aspect=aspect)
            image = image.crop(box)
            spec = replace(spec, resize="squash", shorter_side=None)
        pixels = decode.to_pixels(image, spec)
        if self.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if not self.randaugment:
            return pixels
        change = rand_augment(self.randaugment, spec)
        with seeded(int(rng.integers(2**32))):
            return np.array(change(Image.fromarray(np.ascontiguousarray(pixels))))


NO_CHANGE = Augmentation()


def random_box(
    width: int,
    height: int,
    smallest: float,
    rng: np.random.Generator,
    *,
    aspect: float | None = None,
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a random part of an image of width x height pixels.

    Args:
        smallest: the smallest fraction of the area, in (0, 1].
        aspect: width / height of the part, varied by up to 4:3 either way; None: the image's own.
            Where no part of that aspect and size fits, the result is the largest that does.
    """
    center = 0.0 if aspect is None else math.log(aspect * height / width)  # relative to the image
    narrowest, widest = center - math.log(MAX_STRETCH), center + math.log(MAX_STRETCH)
    for _ in range(CROP_ATTEMPTS):
        area, stretch = rng.uniform(smallest, 1), rng.uniform(narrowest, widest)
        limit = -math.log(area)  # beyond it one side would exceed the image
        if abs(stretch) <= limit:
            break
    else:
        stretch = min(max(stretch, -limit, narrowest), max(limit, narrowest), widest)
    area = min(area, math.exp(-abs(stretch)))
    w = round(width * math.sqrt(area * math.exp(stretch)))
    h = round(height * math.sqrt(area / math.exp(stretch)))
    w, h = min(max(w, 1), width), min(max(h, 1), height)
    left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return left, top, left + w, top + h


@functools.cache
def rand_augment(policy: str, spec: ImageSpec) -> Callable[[Image.Image], Image.Image]:
    """Return timm's RandAugment for images of this size; uncovered pixels get the mean colour.

    Raises:
        ValueError: timm cannot parse the policy.
    """
    if not RANDAUGMENT_POLICY.fullmatch(policy):
        raise ValueError(f"{policy} is not a RandAugment policy")
    fill = tuple(min(255, round(255 * channel)) for channel in spec.mean)
    transform = rand_augment_transform(
        policy,
        {
            "translate_const": int(min(spec.height, spec.width) * 0.45),
            "img_mean": fill,
            "interpolation": Image.Resampling.BICUBIC,
        },
    )
    for step in transform.ops:
        if step.name.startswith("Posterize"):
            step.aug_fn = posterize
    return cast(Callable[[Image.Image], Image.Image], transform)


def posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Keep some bits of each channel, at least one.

    At full strength timm asks for 0 bits, which Pillow refuses.
    """
    return ImageOps.posterize(image, min(max(bits, 1), 8))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `random` and numpy's global generator, which timm draws from; restore both after."""
    plain, array = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(array)
