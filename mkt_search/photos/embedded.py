"""The metadata blocks that a photo embeds: its XMP packet and the texts of IPTC IIM.

Only the header of a file is read, no pixel is decoded. A block that is missing, broken or too
large is empty: thousands of programs write metadata, many of them wrongly.
"""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.files import open_regular
from mkt_search.photos.exif import XMP_TAG, parse_exif_of
from mkt_search.photos.formats import SNIFFED_BYTES, format_of, is_raw, open_metadata

MAX_BLOCK = 16 * 1024**2
"""Bytes of a packet or block; larger ones count as missing."""

IPTC_TAG = 0x83BB  # of TIFF
IPTC_RESOURCE = 0x0404  # of Photoshop's blocks in a JPEG

TITLE, KEYWORDS, CITY, LOCATION, STATE, COUNTRY, CAPTION = 5, 25, 90, 92, 95, 101, 120
"""Datasets of the application record of IPTC IIM."""

_TEXT_RECORD = 2
_CHARSET = (1, 90)
_UTF8 = b"\x1b%G"  # ISO 2022's sign for it
_MARKER = 0x1C
_PNG_SIGNATURE = 8  # bytes before the first chunk
_PNG_KEYWORD = b"XML:com.adobe.xmp\0"


@dataclass(frozen=True)
class Embedded:
    """What a photo embeds: its XMP packet, and the texts of IPTC by dataset of record 2."""

    xmp: bytes = b""
    iptc: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def read_embedded(path: Path) -> Embedded:
    """Return the metadata blocks of a photo: of JPEG, PNG, WebP, TIFF, AVIF, HEIC and TIFF-like
    RAW files. A file of another kind has none.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        head = file.read(SNIFFED_BYTES)
        file.seek(0)
        try:
            format = format_of(head, path.name)
        except PhotoError:
            return Embedded()
        try:
            return _blocks(file, format)
        except OSError as problem:
            if problem.errno is not None:  # of the system; Pillow's own have none
                raise
        except Exception:  # whatever a decoder raises on a broken header
            pass
        return Embedded()


def _blocks(file: BinaryIO, format: str) -> Embedded:
    if format == "PNG":  # Pillow reads what is behind the pixels only with the pixels
        return Embedded(_png_packet(file))
    if is_raw(format):
        tags = parse_exif_of(file)
        return Embedded(_bytes(_tag(tags, XMP_TAG)), parse_iptc(_bytes(_tag(tags, IPTC_TAG))))
    image = open_metadata(file, format)
    if format == "TIFF":
        tags = image.getexif()
        return Embedded(_bytes(_tag(tags, XMP_TAG)), parse_iptc(_bytes(_tag(tags, IPTC_TAG))))
    photoshop = image.info.get("photoshop")
    iptc = photoshop.get(IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    return Embedded(_bytes(image.info.get("xmp")), parse_iptc(_bytes(iptc)))


def _tag(tags: Image.Exif, number: int) -> Any:
    try:
        return tags.get(number)
    except Exception:
        return None


def _bytes(value: Any) -> bytes:
    """Return a block as bytes. IPTC is often declared as 4-byte integers in a TIFF."""
    if isinstance(value, tuple) and all(isinstance(number, int) for number in value):
        value = struct.pack(f"<{len(value)}I", *value)
    if isinstance(value, str):
        value = value.encode("utf-8", "replace")
    return value if isinstance(value, bytes) and len(value) <= MAX_BLOCK else b""


def _png_packet(file: BinaryIO) -> bytes:
    """Return the XMP packet of a PNG, before or behind its pixels."""
    file.seek(_PNG_SIGNATURE)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            break
        if kind == b"iTXt" and length <= MAX_BLOCK:
            text = file.read(length)
            file.seek(4, 1)
            if text.startswith(_PNG_KEYWORD):
                return _international_text(text[len(_PNG_KEYWORD) :])
        else:
            file.seek(length + 4, 1)
    return b""


def _international_text(rest: bytes) -> bytes:
    """Return the text of an iTXt chunk, given what is behind its keyword."""
    is_packed = rest[:1] == b"\1"
    text = rest[2:].split(b"\0", 2)[2]  # behind two languages
    if not is_packed:
        return text
    packer = zlib.decompressobj()
    text = packer.decompress(text, MAX_BLOCK)
    return b"" if packer.unconsumed_tail else text


def parse_iptc(block: bytes) -> dict[int, tuple[str, ...]]:
    """Return the texts of record 2 of an IPTC IIM block, by dataset.

    They are UTF-8 where the block says so or they can be read as such; otherwise Latin-1, as
    Western programs wrote them.
    """
    found: dict[int, list[bytes]] = defaultdict(list)
    is_utf8 = False
    for record, dataset, value in _datasets(block):
        if (record, dataset) == _CHARSET:
            is_utf8 = value == _UTF8
        elif record == _TEXT_RECORD:
            found[dataset].append(value)
    return {
        dataset: tuple(_text(value, is_utf8=is_utf8) for value in values)
        for dataset, values in found.items()
    }


def _datasets(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (record, dataset, value) until the block ends or is broken."""
    at = 0
    while at + 5 <= len(block) and block[at] == _MARKER:
        record, dataset, length = struct.unpack_from(">BBH", block, at + 1)
        at += 5
        if length & 0x8000:  # the length of the length
            wide = length & 0x7FFF
            if wide > 4:
                return
            length, at = int.from_bytes(block[at : at + wide], "big"), at + wide
        if at + length > len(block):
            return
        yield record, dataset, block[at : at + length]
        at += length


def _text(value: bytes, *, is_utf8: bool) -> str:
    value = value.rstrip(b"\0")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace") if is_utf8 else value.decode("latin-1")
