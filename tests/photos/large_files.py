"""Files of huge pictures, a few hundred kB each, and the memory that decoding one takes."""

import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.odd_photos import png_chunk, save
from tests.photos.picture_files import DEFLATE, LONG, SHORT, heic, levels, tiff_page

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
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
        "bits.png": lambda: large_png(1, 0),
        "grey.png": lambda: large_png(8, 0),
        "grey alpha.png": lambda: large_png(8, 4),
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


def with_scans(size: tuple[int, int], scans: int) -> bytes:
    """A progressive JPEG of a plain colour whose last pass is repeated."""
    data = save(Image.new("L", size, 90), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"
