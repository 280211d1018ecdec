"""Convert pixels to sRGB as a viewer shows them: colour profiles, deep pixels, transparency.

Every function takes images that are already reduced, or bands of rows of large ones.
"""

import io
from functools import lru_cache
from itertools import product
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from mkt_search.photos.containers import MAX_PROFILE

LIGHT = 32
"""A drawing whose mean difference from white is less, in levels, is shown on black."""

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # by colour space of a profile
_SAMPLED_SIDE = 256  # pixels; enough to tell a light drawing
_SHADES = (0, 64, 128, 192, 255)


def to_rgb(
    image: Image.Image, profile: bytes | None = None, gamma: float | None = None
) -> Image.Image:
    """Convert an image of 8 bits a band (L, LA, RGB, RGBA, CMYK, LAB or less) to sRGB.

    Args:
        image: the pixels.
        profile: what their colours are; one that does not fit is ignored, as viewers do.
        gamma: without a profile, the power of light that the samples are; None for those of sRGB.
    """
    if image.mode in ("LA", "RGBA"):
        colours = to_rgb(image.convert("L" if image.mode == "LA" else "RGB"), profile, gamma)
        return _on_ground(colours, image.getchannel("A"))
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    if profile and len(profile) <= MAX_PROFILE:
        transform = _transform(profile, image.mode)
        if transform is not None:
            return cast(Image.Image, ImageCms.applyTransform(image, transform))
    if image.mode == "LAB":
        return cast(Image.Image, ImageCms.applyTransform(image, _lab_to_srgb()))
    shown = image if image.mode == "RGB" else image.convert("RGB")
    return shown if gamma is None else shown.point(_levels_of_power(gamma) * 3)


@lru_cache(maxsize=16)
def _levels_of_power(gamma: float) -> list[int]:
    """Return the 256 levels of sRGB for samples that are a power of light."""
    light = (np.arange(256) / 255) ** (1 / gamma)
    dark, bright = 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055  # IEC 61966-2-1
    levels: list[int] = (
        np.rint(255 * np.where(light <= 0.0031308, dark, bright)).astype(int).tolist()
    )
    return levels


def _on_ground(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """Lay transparent pixels on white; on black if what they show is as light as the white.

    Such pictures are mostly made for white pages, but a light drawing would be lost there.
    """
    sample = max(1, max(colours.size) // _SAMPLED_SIDE)
    weights = np.asarray(alpha.reduce(sample), np.float32)
    distance = 255 - np.asarray(colours.convert("L").reduce(sample), np.float32)
    total = float(weights.sum())
    is_light = total > 0 and float((distance * weights).sum()) / total < LIGHT
    ground = Image.new("RGB", colours.size, "black" if is_light else "white")
    return Image.composite(colours, ground, alpha)


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return what converts pixels of a mode to sRGB; None if that changes nothing or cannot be."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if _MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return None if mode == "RGB" and _changes_nothing(transform) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return True for a transform from sRGB to sRGB, the profile of most photos that have one."""
    colours = np.array([*product(_SHADES, repeat=3)], np.uint8)[None]
    shown = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return int(np.abs(np.asarray(shown, int) - colours).max()) <= 1


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


def to_8_bits(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Scale values to 8 bits: `low` becomes 0 and `high` 255; NaN becomes 0."""
    with np.errstate(all="ignore"):  # signaling NaNs, and ranges beyond float32
        scaled = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-30))
        finite: NDArray[np.float32] = np.nan_to_num(scaled)
        return finite.clip(0, 255).astype(np.uint8)
