"""What is done to a training photo before the student sees it: crop, flip, RandAugment.

In the order of timm's training transform, which the paper uses: crop and resize, flip, RandAugment
at the student's size. Everything is decided by the generator that is handed in.
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

from mkt_search.photos import decode as images
from mkt_search.types import ImageSpec

WIDEST = 4 / 3  # aspect of a random crop, relative to what the student sees; or its inverse
ATTEMPTS = 10  # boxes drawn before one that leaves the photo is shrunk to fit
NUMBER = r"\d+(\.\d+)?"
POLICY = re.compile(rf"rand(-(m\d+|n\d+|p{NUMBER}|mstd{NUMBER}|mmax\d+|inc[01]|t(weights|3aw?)))*")
"""What timm reads as a RandAugment policy, such as the paper's rand-m9-mstd0.5-inc1."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to a training photo.

    `crop_scale` is the smallest share of the photo that a random crop keeps (1: no crops),
    `randaugment` a policy in timm's words ("": none).
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
        pixels = images.to_pixels(image, spec)
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
    """Return left, top, right and bottom of a part that has `smallest` of the area or more.

    Its aspect is within 4:3 and 3:4 of `aspect`, or of the photo's own when that is None. Where the
    photo has no room for such a part of that size, it is the largest there is room for.
    """
    middle = 0.0 if aspect is None else math.log(aspect * height / width)  # beside the photo's own
    narrowest, widest = middle - math.log(WIDEST), middle + math.log(WIDEST)
    for _ in range(ATTEMPTS):
        area, stretch = rng.uniform(smallest, 1), rng.uniform(narrowest, widest)
        room = -math.log(area)  # neither side may leave the photo
        if abs(stretch) <= room:
            break
    else:
        stretch = min(max(stretch, -room, narrowest), max(room, narrowest), widest)
    area = min(area, math.exp(-abs(stretch)))
    w = round(width * math.sqrt(area * math.exp(stretch)))
    h = round(height * math.sqrt(area / math.exp(stretch)))
    w, h = min(max(w, 1), width), min(max(h, 1), height)
    left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    return left, top, left + w, top + h


@functools.cache
def rand_augment(policy: str, spec: ImageSpec) -> Callable[[Image.Image], Image.Image]:
    """Return timm's RandAugment for images of this size; what it uncovers has the mean colour.

    Raises:
        ValueError: timm does not understand the policy.
    """
    if not POLICY.fullmatch(policy):
        raise ValueError(f"{policy} is no RandAugment policy")
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

    At full strength timm asks for none, which would leave nothing and which Pillow refuses.
    """
    return ImageOps.posterize(image, min(max(bits, 1), 8))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let `random` and numpy's global generator, which timm draws from, start at a seed.

    Afterwards both go on as if nothing had been drawn.
    """
    plain, array = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(array)
