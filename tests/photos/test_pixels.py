"""Pixels are loaded within a bound of memory and time, and what is nearly whole is shown."""

import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import MAX_PIXELS, decode
from mkt_search.photos.pixels import MAX_DECODE_BYTES, affordable_factor, load_picture
from tests.odd_photos import jpeg, noise, png_chunk, save
from tests.photos.picture_files import (
    DEFLATE,
    LONG,
    SHORT,
    deep_tiff,
    heic,
    levels,
    scene,
    tiff_page,
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

# ------------------------------------------------------------------------------- cut JPEG files

PHOTO = Image.fromarray(levels(scene((320, 240))))
WHOLE = save(PHOTO, "JPEG", quality=90)
PROGRESSIVE = save(PHOTO, "JPEG", quality=90, progressive=True)


@pytest.mark.parametrize("whole", [WHOLE, PROGRESSIVE, jpeg(), save(PHOTO.convert("L"), "JPEG")])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_jpeg_without_its_last_bytes_is_shown(whole: bytes, lost: int) -> None:
    shown = np.asarray(decode(whole[:-lost]).image, int)
    assert np.abs(shown - np.asarray(decode(whole).image, int)).mean() < 1
    filled = whole[:-lost] + bytes(4096)
    assert decode(filled).image.size == decode(whole).image.size


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([WHOLE, PROGRESSIVE]), st.integers(700, len(WHOLE)))
def test_a_cut_jpeg_says_so_or_looks_like_the_whole(whole: bytes, kept: int) -> None:
    try:
        shown = np.asarray(decode(whole[:kept]).image, int)
    except PhotoError as error:
        assert "truncated JPEG" in str(error)
    else:
        assert np.abs(shown - np.asarray(decode(whole).image, int)).mean() < 6


def test_a_jpeg_that_lacks_a_tenth_is_refused_though_a_viewer_shows_the_rest() -> None:
    whole = save(noise(400, 300, seed=1), "JPEG")
    with pytest.raises(PhotoError, match="truncated JPEG: the file ends before the picture does"):
        decode(whole[: len(whole) * 9 // 10])


def test_a_film_behind_a_photo_is_ignored() -> None:
    film = b"\0\0\0\x18ftypmp42" + np.random.default_rng(3).bytes(200_000)
    shown = np.asarray(decode(WHOLE + film).image)
    np.testing.assert_array_equal(shown, np.asarray(decode(WHOLE).image))


# -------------------------------------------------------------------------------- what is bounded


def with_scans(size: tuple[int, int], scans: int) -> bytes:
    """A progressive JPEG of a plain colour whose last pass is repeated."""
    data = save(Image.new("L", size, 90), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"


def test_passes_times_pixels_of_a_jpeg_are_bounded() -> None:
    data = with_scans((2400, 2400), 980)
    with pytest.raises(PhotoError, match=r"5\.8 million pixels with 98\d passes: a decompression"):
        decode(data, shorter_side=224)
    assert decode(with_scans((240, 240), 500), shorter_side=224).image.size == (240, 240)


@given(
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.integers(0, 2 * MAX_DECODE_BYTES),
    st.sampled_from([None, 1, 224, 512]),
)
def test_a_picture_is_reduced_until_it_fits_and_not_below_the_side_wanted(
    width: int, height: int, held: int, side: int | None
) -> None:
    try:
        factor = affordable_factor((width, height), held, side)
    except PhotoError as error:
        assert re.search(r"takes \d\.\d GB of memory, more than the 1 GB", str(error))
        assert held > MAX_DECODE_BYTES * 9 // 10
        return
    assert held + 4 * width * height / factor**2 < MAX_DECODE_BYTES
    small = affordable_factor((width // 10 + 1, height // 10 + 1), 0, side)
    assert small == 1 or min(width // 10 + 1, height // 10 + 1) / small >= (side or 0)


@pytest.mark.slow
def test_reducing_in_bands_is_reducing_the_whole() -> None:
    image = Image.fromarray(levels(scene((1500, 1100))))
    for made in (image, image.convert("L"), image.convert("CMYK")):
        data = save(made, "TIFF")
        shown = decode(data, shorter_side=100).image
        expected = made.reduce(5).convert("RGB")
        difference = np.abs(np.asarray(shown, int) - np.asarray(expected, int))
        assert shown.size == expected.size and difference.max() <= 1
    deep = deep_tiff(levels(scene((1500, 1100)), "u2"), 2, packed=True)
    shown = decode(deep, shorter_side=100).image
    assert np.abs(np.asarray(shown, int) - np.asarray(image.reduce(5), int)).max() <= 1


def test_a_picture_keeps_its_full_size_and_orientation() -> None:
    data = deep_tiff(levels(scene((1500, 1100)), "u2"), 2, fields={274: (SHORT, [6])})
    picture = load_picture(data, "TIFF", shorter_side=100, max_pixels=MAX_PIXELS)
    assert (picture.size, picture.image.size, picture.turn) == ((1500, 1100), (300, 220), 6)


def test_grey_of_12_bits_is_not_black() -> None:
    values = (levels(scene()[..., 0], "u2") >> 4).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    rows = packed.astype(np.uint8).reshape(64, 144, 1)
    fields = {256: (SHORT, [96]), 258: (SHORT, [12])}
    shown = np.asarray(decode(deep_tiff(rows, 1, fields=fields, rows_per_strip=64)).image, int)  # type: ignore[arg-type]
    assert np.abs(shown[..., 0] - levels(scene()[..., 0])).max() <= 1


# -------------------------------------------------------------------------------------- memory

PEAK = """
import resource, sys
from pathlib import Path

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import decode, read

before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
side = int(sys.argv[2]) or None
try:
    print(decode(read(Path(sys.argv[1])), shorter_side=side).image.resize((1, 1)).getpixel((0, 0)))
except PhotoError as error:
    print(error)
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024 - before)
"""
SIDE = 13_312  # pixels, of a square picture of nearly `MAX_PIXELS`
ROWS = 64


def peak(path: Path, side: int) -> tuple[str, int]:
    """Decode a file in a child; return the mean colour or the reason, and the bytes it took."""
    command = [sys.executable, "-c", PEAK, str(path), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, memory = done.stdout.splitlines()
    return said, int(memory)


def large_png(depth: int, colour: int) -> bytes:
    """A PNG of one colour, packed row by row."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    size = SIDE.to_bytes(4, "big")
    packer = zlib.compressobj(1)
    row = b"\0" + bytes([90]) * (SIDE * samples * depth // 8)
    packed = b"".join(packer.compress(row) for _ in range(SIDE)) + packer.flush()
    header = png_chunk(b"IHDR", size + size + bytes([depth, colour, 0, 0, 0]))
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def large_tiff(photometric: int, samples: int, type: str) -> bytes:
    """A TIFF of one colour, all of whose deflated strips are the same bytes."""
    rows = levels(np.full((ROWS, SIDE, samples), 90 / 255), type)
    strip, kind = zlib.compress(rows.tobytes(), 1), {"u": 1, "f": 3}[rows.dtype.kind]
    fields: dict[int, tuple[int, list[int] | bytes]] = {
        256: (LONG, [SIDE]),
        257: (LONG, [SIDE]),
        258: (SHORT, [8 * rows.dtype.itemsize] * samples),
        259: (SHORT, [DEFLATE]),
        262: (SHORT, [photometric]),
        273: (LONG, [8] * (SIDE // ROWS)),
        277: (SHORT, [samples]),
        278: (LONG, [ROWS]),
        279: (LONG, [len(strip)] * (SIDE // ROWS)),
        339: (SHORT, [kind] * samples),
    }
    return tiff_page(fields, strip, "<")


def large_files() -> dict[str, Callable[[], bytes]]:
    """Makers of files of nearly as many pixels as are allowed; a few hundred kB each."""
    return {
        "RGB.png": lambda: large_png(8, 2),
        "float RGB.tif": lambda: large_tiff(2, 3, "f4"),
        "grey.png": lambda: large_png(8, 0),
        "RGBA.png": lambda: large_png(8, 6),
        "RGB 16.png": lambda: large_png(16, 2),
        "grey 16.png": lambda: large_png(16, 0),
        "grey alpha 16.png": lambda: large_png(16, 4),
        "float.tif": lambda: large_tiff(1, 1, "f4"),
        "RGB 16.tif": lambda: large_tiff(2, 3, "u2"),
        "CMYK.tif": lambda: large_tiff(5, 4, "u1"),
        "CMYK 16.tif": lambda: large_tiff(5, 4, "u2"),
        "Lab 16.tif": lambda: large_tiff(8, 3, "u2"),
        "plain.jpg": lambda: save(plain(), "JPEG"),
        "CMYK.jpg": lambda: save(plain().convert("CMYK"), "JPEG"),
        "progressive.jpg": lambda: save(plain(), "JPEG", progressive=True),
        "progressive full.jpg": lambda: save(plain(), "JPEG", progressive=True, subsampling=0),
        "980 passes.jpg": lambda: with_scans((2400, 2400), 980),
        "plain.gif": lambda: save(plain().convert("P"), "GIF"),
        "plain.bmp": lambda: save(plain(), "BMP"),
        "12000.webp": lambda: save(plain(12_000), "WEBP", method=0),
        "7000.webp": lambda: save(plain(7000), "WEBP", method=0, lossless=True),
        "7000 alpha.webp": lambda: save(plain(7000).convert("RGBA"), "WEBP"),
        "7000.avif": lambda: save(plain(7000), "AVIF", speed=10),
        "7000.heic": lambda: heic(plain(7000), quality=50),
    }


def plain(side: int = SIDE) -> Image.Image:
    return Image.new("RGB", (side, side), (90, 90, 90))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory of Linux")
@pytest.mark.parametrize("name", ["RGB.png", "float RGB.tif"])
def test_a_small_file_of_a_huge_picture_takes_at_most_a_gigabyte(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(large_files()[name]())
    said, memory = peak(path, 224)
    assert path.stat().st_size < 4_000_000
    assert said == "(90, 90, 90)"
    assert memory < MAX_DECODE_BYTES


@pytest.mark.soak
@pytest.mark.parametrize("side", [224, 0])
@pytest.mark.parametrize("name", list(large_files()))
def test_a_picture_of_any_kind_takes_at_most_a_gigabyte(
    name: str, side: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(large_files()[name]())
    said, memory = peak(path, side)
    print(f"{name}, side {side}: {path.stat().st_size / 1e6:.1f} MB, {memory / 1e6:.0f} MB: {said}")
    assert memory < MAX_DECODE_BYTES
    assert re.match(r"\(\d+, \d+, \d+\)$|.*(GB of memory|passes)", said), said
