"""Turn the bytes of a photo into the pixels a student sees: read, decode, resize, thumbnail.

Every decoded image is sRGB and upright. All functions are thread-safe; the heavy parts release the
GIL.
"""

import errno
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.crop import center_crop, views, visible_box
from mkt_search.photos.exif import QUARTER_TURNS, parse_exif, photo_facts, read_exif, read_xmp
from mkt_search.photos.formats import (
    RAW_SUFFIXES,
    SUFFIXES,
    format_of,
    is_raw,
    open_header,
    reason,
)
from mkt_search.photos.pixels import MARGIN, MAX_DECODE_BYTES, load_picture
from mkt_search.photos.raw import decode_raw
from mkt_search.types import Box, ImageSpec, PhotoFacts

__all__ = [
    "DECODER",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "RAW_SUFFIXES",
    "SUFFIXES",
    "Decoded",
    "decode",
    "mean_colour",
    "read",
    "thumbnail",
    "to_pixels",
    "to_views",
    "webp_thumbnail",
]

DECODER = 2
"""Version of the pixels that `decode` and `to_views` return; a change of them needs a new one."""

MAX_PIXELS = 179_000_000
MAX_FILE_BYTES = MAX_DECODE_BYTES * 3 // 4
MAX_SCALED_ASPECT = 16  # a longer strip is cropped first: scaled whole it could fill the memory
THUMBNAIL_JPEG_QUALITY = 82
THUMBNAIL_WEBP_QUALITY = 75

_TRANSPOSITIONS = {  # EXIF orientation -> what makes the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_READ_ERRORS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "the file is gone, or a dangling link",
    errno.ENOTDIR: "the file is gone, or a dangling link",
    errno.ELOOP: "a symbolic link to itself",
    errno.ENXIO: "not a regular file",
    errno.EIO: "input/output error while reading the file",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}


@dataclass(frozen=True)
class Decoded:
    """A decoded photo: `image` RGB, upright, perhaps reduced; `facts` describe the full photo."""

    image: Image.Image
    facts: PhotoFacts


def read(path: Path) -> bytes:
    """Return all bytes of a regular file; never blocks on a pipe or a device.

    Raises:
        PhotoError: the file is missing, empty, unreadable, larger than `MAX_FILE_BYTES` or not a
            regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        try:
            return _read_all(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise PhotoError(_READ_ERRORS.get(error.errno or 0, words)) from error


def _read_all(descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise PhotoError("not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise PhotoError(
            f"{status.st_size / 1024**3:.1f} GiB is larger than any photo that is read"
        )
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        data = file.read()
    if not data:
        raise PhotoError("empty file (0 bytes)")
    return data


def decode(
    data: bytes, *, name: str = "", shorter_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Decoded:
    """Decode a photo to upright RGB.

    Args:
        data: the whole file.
        name: the file's name; only a RAW suffix matters, the bytes decide the rest.
        shorter_side: the photo may be reduced, or an embedded preview used, as long as neither side
            falls below this many pixels; if None, only as far as memory demands.
        max_pixels: the limit for the full photo, checked against its header.

    Raises:
        PhotoError: the photo cannot be decoded, or not in `MAX_DECODE_BYTES`; the text is a short
            reason without the path.
    """
    format = format_of(data, name)
    try:
        if is_raw(format):
            return _decode_raw(data, format, shorter_side, max_pixels)
        return _decode(data, format, shorter_side, max_pixels)
    except PhotoError:
        raise
    except Exception as error:  # decoders raise nearly every type of exception
        raise PhotoError(reason(error, data, format)) from error


def _decode(data: bytes, format: str, shorter_side: int | None, max_pixels: int) -> Decoded:
    picture = load_picture(data, format, shorter_side=shorter_side, max_pixels=max_pixels)
    size = picture.size[::-1] if picture.turn in QUARTER_TURNS else picture.size
    image = picture.image
    if picture.turn in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[picture.turn])
    facts = photo_facts(picture.exif, size, format=format, xmp=picture.xmp)
    return Decoded(image, facts)


def _decode_raw(data: bytes, format: str, shorter_side: int | None, max_pixels: int) -> Decoded:
    raw = decode_raw(data, shorter_side=shorter_side, max_pixels=max_pixels)
    exif = parse_exif(data)
    if not len(exif) and raw.preview:  # not TIFF-based: use the EXIF of the embedded preview
        exif = read_exif(open_header(raw.preview, "JPEG"))
    xmp = read_xmp(raw.image, exif)
    return Decoded(raw.image, photo_facts(exif, raw.size, format=format, xmp=xmp))


def to_views(photo: Decoded, spec: ImageSpec) -> NDArray[np.uint8]:
    """Resize a photo to the views of it that a student sees: (V, height, width, 3) uint8.

    V is 1 except for a panorama; see `crop.views`. The size of the full photo decides, as it does
    when boxes are drawn: a reduced image may have a slightly different shape.
    """
    boxes = views(photo.facts.width, photo.facts.height, spec)
    if len(boxes) == 1:
        return to_pixels(photo.image, spec)[None]
    return np.stack([_resized(photo.image, box, spec) for box in boxes])


def to_pixels(image: Image.Image, spec: ImageSpec) -> NDArray[np.uint8]:
    """Resize an upright RGB image to one view: (height, width, 3) uint8, unnormalized.

    Uses torch's antialiased bicubic kernel for 8 bits: a third of Pillow's time, and within two
    levels of it. Width and height that are more than twice too large are first reduced by whole
    factors. If the spec has a `shorter_side`, Pillow does the work, and the result equals
    torchvision's in every pixel.
    """
    if spec.shorter_side and max(image.size) <= MAX_SCALED_ASPECT * min(image.size):
        return _resize_then_crop(image, spec)
    return _resized(image, visible_box(image.width, image.height, spec), spec)


def _resized(image: Image.Image, box: Box, spec: ImageSpec) -> NDArray[np.uint8]:
    """Return a part of an image, squashed to (height, width, 3)."""
    import torch

    left, top, right, bottom = _pixel_edges(image, box)
    across = max(1, (right - left) // (MARGIN * spec.width))
    down = max(1, (bottom - top) // (MARGIN * spec.height))
    if max(across, down) > 1:
        image = image.reduce((across, down), (left, top, right, bottom))
    elif (right - left, bottom - top) != image.size:
        image = image.crop((left, top, right, bottom))
    pixels = np.array(image)
    if image.size == (spec.width, spec.height):
        return pixels
    batch = torch.from_numpy(pixels).unsqueeze(0).permute(0, 3, 1, 2)  # (1, 3, H, W), channels last
    resized = torch.nn.functional.interpolate(
        batch, size=(spec.height, spec.width), mode="bicubic", antialias=True
    )
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def _resize_then_crop(image: Image.Image, spec: ImageSpec) -> NDArray[np.uint8]:
    """Scale the whole image and keep its center, as torchvision's Resize and CenterCrop."""
    scaled, (left, top) = center_crop(image.width, image.height, spec)
    if image.size != scaled:
        image = image.resize(scaled, Image.Resampling.BICUBIC)
    return np.array(image.crop((left, top, left + spec.width, top + spec.height)))


def _pixel_edges(image: Image.Image, box: Box) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a box in whole pixels; each side at least one pixel."""
    left = min(round(box.left * image.width), image.width - 1)
    top = min(round(box.top * image.height), image.height - 1)
    right = max(round(box.right * image.width), left + 1)
    bottom = max(round(box.bottom * image.height), top + 1)
    return left, top, right, bottom


def thumbnail(image: Image.Image, side: int) -> bytes:
    """Return an RGB image as a JPEG whose longer side has at most `side` pixels; never enlarge."""
    return _saved(image, side, "JPEG", THUMBNAIL_JPEG_QUALITY)


def webp_thumbnail(image: Image.Image, side: int) -> bytes:
    """Return an RGB image as a WebP whose longer side has at most `side` pixels; never enlarge."""
    return _saved(image, side, "WEBP", THUMBNAIL_WEBP_QUALITY)


def mean_colour(image: Image.Image) -> tuple[int, int, int]:
    """Return the mean red, green and blue of an RGB image, 0 to 255 each."""
    small = image.resize((1, 1), Image.Resampling.BOX, reducing_gap=1.0)
    red, green, blue = small.tobytes()
    return red, green, blue


def _saved(image: Image.Image, side: int, format: str, quality: int) -> bytes:
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    small.info = {}  # drop the original's comment
    buffer = io.BytesIO()
    small.save(buffer, format, quality=quality)
    return buffer.getvalue()
