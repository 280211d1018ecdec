"""Load the pixels of a photo as sRGB, reduced on the way, within a bound of memory and time.

A JPEG is decoded at reduced size. Other formats are decoded whole, in the mode that the file has,
and then reduced and converted in bands of rows: no second whole copy is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from mkt_search.errors import PhotoError
from mkt_search.photos import jpeg, tiff
from mkt_search.photos.colour import to_rgb
from mkt_search.photos.containers import png_gamma, sound_png, sound_webp
from mkt_search.photos.exif import UPRIGHT, orientation, parse_exif, read_exif, read_xmp
from mkt_search.photos.formats import check_size, is_filled_with_zeros, open_header

MAX_DECODE_BYTES = 10**9
"""Memory that decoding one photo may take, its file included; one that needs more is refused."""

MARGIN = 2
"""Pixels are reduced by a whole factor to no less than so many times the size that is wanted."""

_OVERHEAD = 48 * 1024**2  # bands, tables of decoders, the reduced picture
_BAND_PIXELS = 512 * 1024
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_RGB_BYTES = 4  # of a pixel in Pillow's memory, with its padding
_RESULT_BYTES = 4 * _RGB_BYTES  # of a reduced pixel while its colours are converted
_DECODER_BYTES = {"WEBP": 16, "AVIF": 11, "HEIF": 9}
"""Bytes a pixel that a decoder holds beside the result; the others hold a few rows."""


@dataclass(frozen=True)
class Picture:
    """The pixels of a photo as they are stored.

    `image` is RGB, perhaps reduced, and still to be turned by the EXIF orientation `turn`; `size`
    is the full (width, height) as stored.
    """

    image: Image.Image
    size: tuple[int, int]
    exif: Image.Exif
    xmp: str
    turn: int


def load_picture(data: bytes, format: str, *, shorter_side: int | None, max_pixels: int) -> Picture:
    """Load the first picture of a file.

    Args:
        data: the whole file.
        format: what `formats.format_of` says, not RAW.
        shorter_side: the picture may be reduced as long as neither side falls below this many
            pixels; if None, only as far as memory demands.
        max_pixels: the limit for the full picture, checked against its header.

    Raises:
        PhotoError: the picture is too large, or its layout is not read.
        Exception: whatever a decoder raises on a damaged file.
    """
    if format == "JPEG":
        return _load_jpeg(data, shorter_side, max_pixels)
    if format == "TIFF":
        samples = _samples(data)
        if samples is not None:
            return _load_samples(data, samples, shorter_side, max_pixels)
    sound, profile = data, None
    if format == "PNG":
        sound, profile = sound_png(data)
    elif format == "WEBP":
        sound = sound_webp(data)
    image = open_header(sound, format)
    size = image.size
    check_size(size, max_pixels)
    held = len(data) + (len(sound) if sound is not data else 0)
    held += (
        image.width
        * image.height
        * (_MODE_BYTES.get(image.mode, _RGB_BYTES) + _DECODER_BYTES.get(format, 0))
    )
    if format == "TIFF":
        held += _held_by_tiff(data, image)
    factor = affordable_factor(size, held, shorter_side)
    if format == "PNG":
        image.load()  # EXIF may follow the pixels
    is_tiff = format == "TIFF"  # Pillow turns it while loading, and then forgets its orientation
    exif = parse_exif(data) if is_tiff else read_exif(image)
    xmp = read_xmp(image, exif)
    turn = UPRIGHT if is_tiff else orientation(exif)
    image.load()
    profile = profile or image.info.get("icc_profile")
    gamma = png_gamma(image.info) if format == "PNG" and not profile else None
    colours = to_rgb(_reduced(image, factor), profile, gamma)
    if colours is image:
        colours = image.copy()  # the original keeps the file open for more frames
    return Picture(colours, size, exif, xmp, turn)


def affordable_factor(size: tuple[int, int], held: int, shorter_side: int | None) -> int:
    """Return the whole factor by which a picture is reduced.

    Args:
        size: width and height of the picture.
        held: bytes that decoding takes beside the result.
        shorter_side: as for `load_picture`.

    Raises:
        PhotoError: decoding takes more than `MAX_DECODE_BYTES` in any case.
    """
    left = check_memory(held)
    factor = max(1, min(size) // (MARGIN * shorter_side)) if shorter_side else 1
    while size[0] * size[1] * _RESULT_BYTES / factor**2 > left:
        factor += 1
    return factor


def check_memory(held: int) -> int:
    """Return how many bytes are left for the result when decoding takes `held` beside it.

    Raises:
        PhotoError: none.
    """
    left = MAX_DECODE_BYTES - _OVERHEAD - held
    if left <= 0:
        raise PhotoError(
            f"decoding it takes {(held + _OVERHEAD) / 1e9:.1f} GB of memory, more than the"
            f" {MAX_DECODE_BYTES / 1e9:.0f} GB that a photo may take"
        )
    return left


# ---------------------------------------------------------------------------------------- JPEG


def _load_jpeg(data: bytes, shorter_side: int | None, max_pixels: int) -> Picture:
    image = _open_jpeg(data)
    size = image.size
    check_size(size, max_pixels)
    exif = read_exif(image)
    xmp = read_xmp(image, exif)
    held = len(data) + _coefficient_bytes(image, data)
    side = shorter_side
    whole = size[0] * size[1] * (_RGB_BYTES + _RESULT_BYTES)
    if side is None and held + whole > MAX_DECODE_BYTES - _OVERHEAD:
        side = max(1, min(size) // 2)
    if side:
        image.draft(None, (side, side))
    factor = affordable_factor(
        image.size, held + _RGB_BYTES * image.width * image.height, shorter_side
    )
    image = _load_cut_or_whole(image, data, side)
    colours = to_rgb(_reduced(image, factor), image.info.get("icc_profile"))
    return Picture(colours, size, exif, xmp, orientation(exif))


def _open_jpeg(data: bytes) -> JpegImageFile:
    return cast(JpegImageFile, open_header(data, "JPEG"))


def _coefficient_bytes(image: JpegImageFile, data: bytes) -> int:
    """Return the memory of a JPEG's coefficients: of all of them if it has several scans."""
    if "progressive" not in image.info and (
        data.count(b"\xff\xda") < 2 or len(jpeg.structure(data).scans) < 2
    ):
        return 0
    layers = [(across, down) for _, across, down, _ in image.layer]
    most = max(across for across, _ in layers) * max(down for _, down in layers)
    blocks = sum(across * down for across, down in layers) / most
    return int(2 * blocks * image.width * image.height)


def _load_cut_or_whole(image: JpegImageFile, data: bytes, side: int | None) -> JpegImageFile:
    """Load an opened JPEG; if its end is missing, show it if nearly all of it is there.

    Raises:
        PhotoError: more is missing.
    """
    why = "truncated JPEG: the file ends before the picture does"
    if is_filled_with_zeros(data):
        why = "truncated JPEG: the rest of the file is zeros"
    else:
        try:
            image.load()
            return image
        except OSError:
            if jpeg.structure(data).ends:
                raise
    completed = data.rstrip(b"\0") + jpeg.END
    image = _open_jpeg(completed)
    if side:
        image.draft(None, (side, side))
    image.load()
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    is_nearly_whole = jpeg.structure(completed).is_nearly_whole(image.layers, scale=scale)
    if not is_nearly_whole or jpeg.lacks_rows(image):
        raise PhotoError(why)
    return image


# ---------------------------------------------------------------------------------------- TIFF


def _samples(data: bytes) -> tiff.Samples | None:
    """Return a reader of a TIFF that Pillow cannot show; None for one that it can."""
    try:
        open_header(data, "TIFF")
        if not tiff.is_deep(tiff.directory(data)):
            return None
    except Exception:
        pass  # the reader says what is wrong
    return tiff.Samples(data)


def _load_samples(
    data: bytes, samples: tiff.Samples, shorter_side: int | None, max_pixels: int
) -> Picture:
    layout = samples.layout
    check_size(layout.size, max_pixels)
    exif = parse_exif(data)
    factor = affordable_factor(layout.size, len(data) + layout.held_bytes, shorter_side)

    def band(top: int, bottom: int) -> Image.Image:
        rows = samples.rows(top, bottom)
        if samples.mode == "LAB":
            rows = rows ^ np.array([0, 128, 128], np.uint8)  # Pillow takes a and b as signed
        return Image.frombytes(samples.mode, (layout.size[0], len(rows)), rows.tobytes())

    image = _from_bands(band, layout.size, samples.mode, factor)
    xmp = read_xmp(image, exif)
    return Picture(to_rgb(image, layout.profile), layout.size, exif, xmp, orientation(exif))


def _held_by_tiff(data: bytes, image: Image.Image) -> int:
    """Return the memory beside the result: an unpacked strip or tile, and a turned copy."""
    pixel = _MODE_BYTES.get(image.mode, _RGB_BYTES)
    tags = tiff.directory(data)
    tile = tags.get(tiff.TILE_WIDTH, image.width) * tags.get(tiff.TILE_HEIGHT, 0)
    strip = image.width * min(tags.get(tiff.ROWS_PER_STRIP, image.height), image.height)
    turned = 0 if tags.get(tiff.ORIENTATION, UPRIGHT) == UPRIGHT else image.width * image.height
    held: int = pixel * ((tile or strip) + turned)
    return held


# --------------------------------------------------------------------------------------- bands


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """Reduce an image of any of Pillow's modes and convert it to 8 bits a band."""
    mode, shift = _plain_mode(image), _depth(image) - 8
    if mode == image.mode and (factor == 1 or mode != "RGBA"):
        return image if factor == 1 else image.reduce(factor)

    def band(top: int, bottom: int) -> Image.Image:
        return _plain(image.crop((0, top, image.width, bottom)), mode, shift)

    return _from_bands(band, image.size, mode, factor)


def _from_bands(
    band: Callable[[int, int], Image.Image], size: tuple[int, int], mode: str, factor: int
) -> Image.Image:
    """Reduce a picture that is read in bands from row `top` to row `bottom`."""
    width, height = size
    rows = max(1, _BAND_PIXELS // (width * factor)) * factor
    reduced = Image.new(mode, (-(-width // factor), -(-height // factor)))
    for top in range(0, height, rows):
        part = band(top, min(top + rows, height))
        reduced.paste(part.reduce(factor) if factor > 1 else part, (0, top // factor))
    return reduced


def _plain_mode(image: Image.Image) -> str:
    if image.mode.startswith("I;16"):
        return "L"
    if image.has_transparency_data:
        return "RGBA"
    if image.mode == "1":
        return "L"
    return image.mode if image.mode in ("L", "RGB", "CMYK", "LAB") else "RGB"


def _depth(image: Image.Image) -> int:
    """Return the bits of a sample of deep grey: 16, or 12 of some TIFF files."""
    bits: tuple[int, ...] = getattr(image, "tag_v2", {}).get(tiff.BITS, (16,))
    return bits[0]


def _plain(band: Image.Image, mode: str, shift: int) -> Image.Image:
    if band.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(band) >> shift).astype(np.uint8))
    if band.mode == "La":
        band = band.convert("LA")
    return band if band.mode == mode else band.convert(mode)
