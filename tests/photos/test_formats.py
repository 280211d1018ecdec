"""Formats are recognized by their bytes, and a file that is not a photo is named."""

import base64
import io
import subprocess
import sys

import pytest
from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import decode
from mkt_search.photos.formats import (
    RAW_SUFFIXES,
    SNIFFED_BYTES,
    SUFFIXES,
    check_size,
    format_of,
    is_filled_with_zeros,
    is_raw,
    open_header,
    reason,
    sniff,
)
from tests.odd_photos import dng, endless_scans, exif_jpeg, jpeg, noise, save
from tests.photos.picture_files import heic

ODD_EXIF = """
import base64, sys, warnings
from concurrent.futures import ThreadPoolExecutor

from mkt_search.photos.decode import decode

data = base64.b64decode(sys.argv[1])
with ThreadPoolExecutor(4) as pool:
    sizes = set(pool.map(lambda data: decode(data).image.size, [data] * 40))
assert sizes == {(96, 64)}
try:
    warnings.warn("one of the program's own", UserWarning)
except UserWarning:
    print("still an error")
"""


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_bytes_decide_the_format(format: str) -> None:
    assert format_of(save(noise(8, 8, seed=0), format), "a.jpg") == format


def test_a_raw_suffix_decides_only_for_what_looks_like_tiff() -> None:
    assert format_of(dng(), "a.DNG") == "DNG"
    assert format_of(dng(), "a.tif") == "TIFF"
    assert format_of(jpeg(), "a.nef") == "JPEG"
    assert is_raw("NEF") and not is_raw("TIFF")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (bytes(100), "nothing but zero bytes"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"  <!DOCTYPE HTML><html>", "a web page"),
        (b"<svg/>", "an SVG drawing"),
        (b"\0\0\0\x14ftypisom\0\0\2\0isom", "a video"),
        (b"Dear diary", "text"),
        (bytes(range(1, 200)), "not in a supported photo format"),
    ],
)
def test_a_file_that_is_not_a_photo_is_named(data: bytes, words: str) -> None:
    with pytest.raises(PhotoError, match=words):
        format_of(data, "a.jpg")


def test_the_pixel_limit_counts_the_last_pixel() -> None:
    check_size((100, 50), 5000)
    with pytest.raises(PhotoError, match=r"100 x 50 pixels exceed .* `max_pixels`"):
        check_size((100, 50), 4999)


def test_a_progressive_jpeg_with_thousands_of_passes_is_refused() -> None:
    assert open_header(jpeg(progressive=True), "JPEG").size == (96, 64)
    with pytest.raises(PhotoError, match="passes: a decompression bomb"):
        open_header(endless_scans(), "JPEG")


def test_zeros_behind_the_end_marker_are_harmless() -> None:
    data = jpeg()
    assert not is_filled_with_zeros(data + bytes(100))
    assert is_filled_with_zeros(data[:-2] + bytes(100))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory to decode this JPEG"),
        (Image.DecompressionBombError(), "damaged JPEG: it claims a part larger than any photo"),
        (OSError("image file is truncated"), "truncated JPEG: the file ends before"),
        (IndexError("7"), "damaged JPEG: invalid header"),
        (OSError(b"Unsupported\n file"), "damaged JPEG: Unsupported file"),
        (ValueError(), "damaged JPEG: ValueError"),
        (ValueError("x" * 500), "damaged JPEG: " + "x" * 120),
    ],
)
def test_a_reason_is_one_short_line(error: Exception, words: str) -> None:
    assert reason(error, jpeg(), "JPEG").startswith(words)
    assert len(reason(error, jpeg(), "JPEG")) < 150


def test_suffixes_are_lower_case_and_include_raw() -> None:
    assert RAW_SUFFIXES < SUFFIXES
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".avif", ".heic"} <= SUFFIXES
    assert {".mpo", ".jps"} <= SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_truncated_file_says_so(format: str, tenth: int) -> None:
    data = save(noise(200, 150, seed=1), format)
    with pytest.raises(PhotoError, match=f"^(truncated|damaged) {format}: ") as caught:
        decode(data[: len(data) * tenth // 10])
    if format != "TIFF":  # its directory may be the missing part
        assert "truncated" in str(caught.value)


def test_a_half_downloaded_jpeg_is_refused_though_it_decodes() -> None:
    data = save(noise(300, 200, seed=2), "JPEG")
    with pytest.raises(PhotoError, match="the rest of the file is zeros"):
        decode(data[: len(data) // 2].ljust(len(data), b"\0"))
    assert decode(data + bytes(5000)).image.size == (300, 200)


@pytest.mark.parametrize(
    ("module", "data", "name", "extra"),
    [
        ("rawpy", b"II*\0" + bytes(100), "a.nef", r"mkt-search\[raw\]"),
        ("pillow_heif", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic", r"mkt-search\[heif\]"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, data: bytes, name: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PhotoError, match=extra):
        decode(data, name=name)


def test_decoder_warnings_are_ignored_and_others_are_not() -> None:
    """In a process that turns warnings into errors, with threads."""

    def fill(exif: Image.Exif) -> None:
        exif[0x010F] = "A maker with a long name"

    data = exif_jpeg(fill)
    at = data.index(b"\x01\x0f", 20)  # the tag's count of characters, made absurd
    broken = data[: at + 4] + b"\x00\x00\xff\xf0" + data[at + 8 :]
    with pytest.warns(UserWarning, match="Corrupt EXIF|larger than file|Truncated"):
        Image.open(io.BytesIO(broken)).getexif()
    command = [sys.executable, "-W", "error::UserWarning", "-c", ODD_EXIF, base64.b64encode(broken)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("still an error\n", "")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_the_first_bytes_show_a_format_without_a_name(format: str) -> None:
    assert sniff(save(noise(8, 8, seed=0), format)[:SNIFFED_BYTES]) == format
    assert sniff(b"Dear diary") is None
    assert sniff(b"") is None


def box(kind: bytes, data: bytes) -> bytes:
    """A box of an ISO media file."""
    return (8 + len(data)).to_bytes(4, "big") + kind + data


@pytest.mark.parametrize(
    "behind",
    [
        *(bytes(1), bytes(5000), box(b"free", bytes(300)), box(b"mpvd", bytes(9000))),
        box(b"free", b"") + bytes(3),
    ],
    ids=["a zero", "zeros", "padding", "a film", "odd padding"],
)
def test_a_phone_photo_is_shown_whatever_is_behind_it(behind: bytes) -> None:
    photo = heic(noise(128, 96, seed=3), quality=90)
    assert decode(photo + behind).image.tobytes() == decode(photo).image.tobytes()
    avif = save(noise(64, 48, seed=3), "AVIF")
    assert decode(avif + behind).image.tobytes() == decode(avif).image.tobytes()


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"msf1", b"hevc", b"heix"])
def test_heic_of_every_brand_is_shown(brand: bytes) -> None:
    first, second = (noise(64, 48, seed=seed) for seed in (4, 5))
    data = heic(first, second, quality=90)
    assert decode(data[:8] + brand + data[12:]).image.size == (64, 48)
