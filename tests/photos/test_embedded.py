"""The metadata blocks of a photo are found in every format, and broken ones are none."""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mkt_search.photos.embedded import CITY, KEYWORDS, Embedded, parse_iptc, read_embedded

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def dataset(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


LATIN = dataset(2, CITY, "Köln".encode("latin-1")) + dataset(2, KEYWORDS, b"sea")
UNICODE = dataset(1, 90, b"\x1b%G") + dataset(2, CITY, "Köln".encode())


def jpeg_with_iptc(block: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", xmp=XMP)
    resource = b"Photoshop 3.0\0" + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(block)) + block
    data = buffer.getvalue()
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(resource) + 2) + resource + data[2:]


def png(*, behind: bool, packed: bool) -> bytes:
    info = PngInfo()
    if behind:
        info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=packed)
    else:
        info.add_itxt("Comment", "x")
        info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=packed)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    data = buffer.getvalue()
    if not behind:
        return data
    start = data.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    tail = data.index(b"IEND") - 4
    return data[:start] + data[end:tail] + data[start:end] + data[tail:]


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_the_packet_is_found_in_every_format(format: str, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    if format == "TIFF":
        tags = ImageFileDirectory_v2()
        tags[700], tags.tagtype[700] = XMP, 1
        Image.new("RGB", (8, 8)).save(path, format, tiffinfo=tags)
    else:
        Image.new("RGB", (8, 8)).save(path, format, xmp=XMP)
    assert read_embedded(path).xmp == XMP


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_png_has_it_before_or_behind_its_pixels(
    behind: bool, packed: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(png(behind=behind, packed=packed))
    assert read_embedded(tmp_path / "a.png").xmp == XMP


def test_a_heic_has_it(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    heic = pillow_heif.from_pillow(Image.new("RGB", (64, 64)))
    heic.save(tmp_path / "a.heic", xmp=XMP)
    assert read_embedded(tmp_path / "a.heic").xmp == XMP


def test_iptc_of_a_jpeg_and_of_a_raw_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg_with_iptc(LATIN))
    expected = Embedded(XMP, {CITY: ("Köln",), KEYWORDS: ("sea",)})
    assert read_embedded(tmp_path / "a.jpg") == expected
    tags = ImageFileDirectory_v2()
    tags[700], tags.tagtype[700] = XMP, 1
    tags[33723], tags.tagtype[33723] = LATIN, 7
    Image.new("RGB", (8, 8)).save(tmp_path / "a.dng", "TIFF", tiffinfo=tags)
    assert read_embedded(tmp_path / "a.dng") == expected


@pytest.mark.parametrize("block", [LATIN, UNICODE])
def test_a_city_is_read_whatever_its_charset(block: bytes) -> None:
    assert parse_iptc(block)[CITY] == ("Köln",)


@pytest.mark.parametrize(
    "block", [b"", b"\x1c", LATIN[:-1], b"\x1c\x02\x19\xff\xff" + b"\xff" * 9, b"\0" * 40]
)
def test_a_broken_block_ends_where_it_breaks(block: bytes) -> None:
    assert set(parse_iptc(block)) <= {CITY}


@pytest.mark.parametrize(
    "data", [b"", b"text", b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n\0", b"II*\0\xff\xff\xff\xff"]
)
def test_what_is_no_photo_embeds_nothing(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_embedded(tmp_path / "a.jpg") == Embedded()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_embedded(tmp_path / "a.jpg")
