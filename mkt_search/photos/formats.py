"""Recognize photo formats, open them, and explain why a file is not a photo.

The first bytes decide the format, never the name: a PNG called .jpg is a PNG. Only RAW files need
the name too, because most of them begin like any TIFF. Pillow's `Image.open` is not used: it would
try two dozen more formats (one starts Ghostscript) and checks sizes against a process-wide limit;
here the pixel limit is an argument.

Importing this module ignores the warnings of Pillow, pillow_heif and rawpy. Odd metadata is common
in photos, and no reader of a warning could act on it.
"""

import io
import struct
import warnings
from pathlib import PurePath
from typing import BinaryIO, cast

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mkt_search.errors import PhotoError
from mkt_search.photos.jpeg import structure

RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf"
    " .raw .rw2 .rwl .sr2 .srf .srw .x3f".split()
)
SUFFIXES = RAW_SUFFIXES | frozenset(
    ".apng .avif .bmp .dib .gif .heic .heif .hif .jfif .jif .jpe .jpeg .jpg .jps .mpo .png .tif"
    " .tiff .webp".split()
)

MAX_JPEG_SCANS = 1000  # real progressive JPEGs have about ten, a decompression bomb has millions
MAX_SCANNED_PIXELS = 4_000_000_000
"""Passes of a JPEG times its pixels: some seconds of decoding."""

SNIFFED_BYTES = 256  # enough for the brands of HEIF
MAX_REASON_CHARACTERS = 120  # of a decoder's own message

# A filter with ordinary arguments, set once: `warnings.catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif|rawpy)\b")

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,  # the first picture of an MPO file too
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_OTHER_FILES = {
    b"\0\x05\x16\x07": "macOS side data (AppleDouble), not a photo",
    b"%PDF": "a PDF document, not a photo",
    b"8BPS": "a Photoshop document, which is not read",
    b"PK\x03\x04": "a ZIP archive, not a photo",
    b"<!doctype html": "a web page (HTML), not a photo",
    b"<html": "a web page (HTML), not a photo",
    b"<?xml": "an XML document, not a photo",
    b"<svg": "an SVG drawing, not a photo",
}


def format_of(data: bytes, name: str = "") -> str:
    """Return the format of a file, such as "JPEG" or "NEF", from its bytes and its name's suffix.

    Raises:
        PhotoError: the bytes are not a photo; the text says what they are instead.
    """
    format = sniff(data)
    suffix = PurePath(name).suffix.lower()
    if suffix in RAW_SUFFIXES and format in (None, "TIFF"):
        return suffix[1:].upper()
    if format is None:
        raise PhotoError(_describe(data))
    return format


def sniff(head: bytes) -> str | None:
    """Return the format that the first `SNIFFED_BYTES` of a file show, None for no photo.

    Most RAW files look like TIFF.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), SNIFFED_BYTES)
        brands = {head[8:12]} | {head[at : at + 4] for at in range(16, length, 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & _HEIF_BRANDS else None
    return next((format for magic, format in _MAGIC.items() if head.startswith(magic)), None)


def is_raw(format: str) -> bool:
    """Return True for a format that `format_of` took from a RAW suffix."""
    return f".{format.lower()}" in RAW_SUFFIXES


def _describe(data: bytes) -> str:
    """Say what a file that is not a photo appears to be."""
    if not data:
        return "empty file (0 bytes)"
    if not data.strip(b"\0"):
        return "nothing but zero bytes: the file was never filled"
    head = data[:512].lstrip().lower()
    for magic, words in _OTHER_FILES.items():
        if data.startswith(magic) or head.startswith(magic):
            return words
    if data[4:8] == b"ftyp":
        return "a video or another ISO media file, not a photo"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in data[:512]):
        return "text, not a photo"
    return "not in a supported photo format"


def open_header(data: bytes, format: str) -> ImageFile.ImageFile:
    """Open an image without decoding its pixels.

    Raises:
        PhotoError: an extra is not installed, or a progressive JPEG has too many passes.
        Exception: whatever the decoder raises on a broken header.
    """
    plugin = _heif_plugin() if format == "HEIF" else _PLUGINS[format]
    image = plugin(io.BytesIO(data))
    if format == "JPEG":
        _check_scans(image, data)
    return image


def open_metadata(file: BinaryIO, format: str) -> ImageFile.ImageFile:
    """Open an image for what its header says beside the pixels, which are not to be decoded.

    Raises:
        PhotoError: an extra is not installed.
        Exception: whatever the decoder raises on a broken header.
    """
    return (_heif_plugin() if format == "HEIF" else _PLUGINS[format])(file)


def _check_scans(image: ImageFile.ImageFile, data: bytes) -> None:
    scans = data.count(b"\xff\xda")  # previews in the header are counted too
    pixels = image.width * image.height
    if scans > MAX_JPEG_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        scans = len(structure(data).scans)
    if scans > MAX_JPEG_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise PhotoError(
            f"a JPEG of {pixels / 1e6:,.1f} million pixels with {scans:,} passes: a decompression"
            " bomb"
        )


def _heif_plugin() -> type[ImageFile.ImageFile]:
    try:
        import pillow_heif
    except ImportError:
        raise PhotoError('HEIC needs an extra: pip install "mkt-search[heif]"') from None
    return cast(type[ImageFile.ImageFile], pillow_heif.HeifImageFile)


class TooManyPixels(PhotoError):
    """A header claims more pixels than are allowed; nothing was decoded."""


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Check a (width, height) from a header against the pixel limit, before anything is decoded.

    Raises:
        TooManyPixels: the photo has more than `max_pixels` pixels.
    """
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{width:,} x {height:,} pixels exceed the {max_pixels / 1e6:,.0f} million that"
            " `max_pixels` allows"
        )


def is_filled_with_zeros(data: bytes) -> bool:
    """Return True for a JPEG that ends in zeros instead of data, as an unfinished download does.

    Zeros are valid JPEG data: such a file decodes without an error to a half-gray picture.
    """
    if not data.endswith(bytes(64)):
        return False
    return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")  # no end marker after the last scan


def reason(error: Exception, data: bytes, format: str) -> str:
    """Return one short line on why a file could not be decoded, given the decoder's exception."""
    if isinstance(error, MemoryError):
        return f"not enough memory to decode this {format}"
    if isinstance(error, Image.DecompressionBombError):
        return f"damaged {format}: it claims a part larger than any photo"
    message = error.args[0] if error.args else ""
    if isinstance(message, bytes):  # LibRaw's
        text = message.decode("utf-8", "replace")
    else:
        text = str(error)
    words = " ".join(text.split())
    if _is_cut_short(data, format) or "truncat" in words.lower():
        return f"truncated {format}: the file ends before the picture does"
    if isinstance(error.__cause__ or error, (IndexError, KeyError, TypeError, struct.error)):
        return f"damaged {format}: invalid header"
    if "cannot handle" in words or words.startswith("Unsupported BMP"):
        return f"a {format} of a kind that is not read: {words}"[:MAX_REASON_CHARACTERS]
    detail = "".join(filter(str.isprintable, words))[:MAX_REASON_CHARACTERS]
    return f"damaged {format}: {detail or type(error).__name__}"


def _is_cut_short(data: bytes, format: str) -> bool:
    """Return True if the end marker or the declared length is missing."""
    if format == "JPEG":
        return b"\xff\xd9" not in data[-65536:]
    if format == "PNG":
        return b"IEND" not in data[-65536:]
    if format == "WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    if format == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if format == "BMP":
        return len(data) < int.from_bytes(data[2:6], "little")
    return format in ("HEIF", "AVIF") and _boxes_overrun(data)


def _boxes_overrun(data: bytes) -> bool:
    """Return True if the last top-level box of an ISO media file extends past the end."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length < 8:  # 0: to the end of the file; 1: a 64-bit length, larger than any photo
            return False
        at += length
    return at > len(data)
