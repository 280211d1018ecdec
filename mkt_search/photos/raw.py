"""RAW files, read with rawpy (the extra `raw`): the camera's preview, else the developed sensor."""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.formats import check_size, open_header

MIN_PREVIEW = 480  # shorter side in pixels from which a preview stands for the whole photo


@dataclass(frozen=True)
class RawImage:
    """A RAW file brought to RGB: `image` upright, `size` that of the full upright photo."""

    image: Image.Image
    size: tuple[int, int]
    preview: bytes | None


def decode_raw(data: bytes, *, shorter_side: int | None, max_pixels: int) -> RawImage:
    """Decode a RAW file: its preview where that is large enough, else developed at half size."""
    try:
        import rawpy
    except ImportError:
        raise PhotoError('RAW needs an extra: pip install "mkt-search[raw]"') from None
    with rawpy.imread(io.BytesIO(data)) as raw:
        sizes = raw.sizes
        turned = sizes.flip in (5, 6)
        size = (sizes.height, sizes.width) if turned else (sizes.width, sizes.height)
        check_size(size, max_pixels)
        preview, packed = _preview(raw, shorter_side, max_pixels)
        if preview is not None and min(preview.size) >= (shorter_side or MIN_PREVIEW):
            return RawImage(preview, size, packed)
        pixels = raw.postprocess(half_size=True, use_camera_wb=True, output_bps=8)
        return RawImage(Image.fromarray(pixels), size, packed)


def _preview(
    raw: Any, shorter_side: int | None, max_pixels: int
) -> tuple[Image.Image | None, bytes | None]:
    """The largest preview, upright, and its bytes if it is a JPEG; a broken one is no loss."""
    try:
        data = raw.extract_thumb().data
        if not isinstance(data, bytes):
            return _turned(Image.fromarray(data), raw.sizes), None
        image = open_header(data, "JPEG")
        check_size(image.size, max_pixels)
        if shorter_side:
            image.draft(None, (shorter_side, shorter_side))
        image.load()
        return _turned(image.convert("RGB"), raw.sizes), data
    except Exception:
        return None, None


def _turned(preview: Image.Image, sizes: Any) -> Image.Image:
    """Turn a preview as LibRaw says (3: half, 5: left, 6: right), unless the camera already did.

    Some cameras store the preview upright: then a photo turned by a quarter is landscape in the
    sensor and portrait in the preview.
    """
    if sizes.flip == 3:
        return preview.transpose(Image.Transpose.ROTATE_180)
    is_done = (preview.width < preview.height) != (sizes.width < sizes.height)
    if sizes.flip not in (5, 6) or is_done:
        return preview
    left, right = Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270
    return preview.transpose(left if sizes.flip == 5 else right)
