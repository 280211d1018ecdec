"""Decode RAW files with rawpy (the extra `raw`): the camera's preview, or the developed sensor."""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.formats import check_size
from mkt_search.photos.pixels import check_memory, load_picture

MIN_PREVIEW_SIDE = 480  # pixels; a preview with a shorter side below this is not used
_SENSOR_BYTES = 5  # a pixel: the sensor's, and what is developed of it at half size


@dataclass(frozen=True)
class RawImage:
    """A decoded RAW file.

    `image` is RGB and upright, `size` the (width, height) of the full upright photo in pixels.
    `preview` is the embedded preview if that is a JPEG, also where it is too small to be used.
    """

    image: Image.Image
    size: tuple[int, int]
    preview: bytes | None


def decode_raw(data: bytes, *, shorter_side: int | None, max_pixels: int) -> RawImage:
    """Decode a RAW file: its preview if that is large enough, else the sensor at half size.

    Args:
        data: the whole file.
        shorter_side: smallest shorter side of a usable preview in pixels; None is
            `MIN_PREVIEW_SIDE`.
        max_pixels: the limit for the full photo.

    Raises:
        PhotoError: rawpy is not installed, or the photo has more than `max_pixels` pixels, or
            developing it takes too much memory.
        Exception: whatever rawpy raises on a damaged file.
    """
    try:
        import rawpy
    except ImportError:
        raise PhotoError('RAW needs an extra: pip install "mkt-search[raw]"') from None
    with rawpy.imread(io.BytesIO(data)) as raw:
        sizes = raw.sizes
        is_quarter_turn = sizes.flip in (5, 6)
        size = (sizes.height, sizes.width) if is_quarter_turn else (sizes.width, sizes.height)
        check_size(size, max_pixels)
        preview, jpeg = _preview(raw, shorter_side, max_pixels)
        if preview is not None and min(preview.size) >= (shorter_side or MIN_PREVIEW_SIDE):
            return RawImage(preview, size, jpeg)
        check_memory(2 * len(data) + _SENSOR_BYTES * size[0] * size[1])
        pixels = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
        return RawImage(Image.fromarray(pixels), size, jpeg)


def _preview(
    raw: Any, shorter_side: int | None, max_pixels: int
) -> tuple[Image.Image | None, bytes | None]:
    """Return the largest preview, upright, and its bytes if it is a JPEG; None if unusable."""
    try:
        data = raw.extract_thumb().data
        if not isinstance(data, bytes):
            return _upright(Image.fromarray(data), raw.sizes), None
        picture = load_picture(data, "JPEG", shorter_side=shorter_side, max_pixels=max_pixels)
        return _upright(picture.image, raw.sizes), data
    except Exception:
        return None, None


def _upright(preview: Image.Image, sizes: Any) -> Image.Image:
    """Turn a preview by LibRaw's flip (3: half, 5: left, 6: right), unless it is upright already.

    Some cameras store the preview upright: a quarter turn then shows as a landscape sensor with a
    portrait preview.
    """
    if sizes.flip == 3:
        return preview.transpose(Image.Transpose.ROTATE_180)
    is_upright = (preview.width < preview.height) != (sizes.width < sizes.height)
    if sizes.flip not in (5, 6) or is_upright:
        return preview
    left, right = Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270
    return preview.transpose(left if sizes.flip == 5 else right)
