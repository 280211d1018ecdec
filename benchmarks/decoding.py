"""Measure the decoding of photos: processor time by format, and peak memory by layout.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --skip-memory     the times alone

Times: a photo of 12 megapixels in each format, decoded for a student of 224 px by the library and,
in turns, by Pillow alone (opened, reduced where a JPEG can be, loaded). One thread; the fastest of
some rounds counts. The ratio is what colours, orientation and metadata cost.

Memory: files of the tests, a few hundred kB each, whose pictures have nearly as many pixels as are
allowed. A new process decodes each for 224 px, and whole; its peak is what the kernel counts beyond
what the imports took (Linux).
"""

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageFilter
from results import Results, add_json_option

from mkt_search.photos.decode import decode
from mkt_search.photos.formats import open_header, sniff

ROOT = Path(__file__).parent.parent
SIZE = (4000, 3000)
SIDE = 224  # pixels, of the student
MAX_GB = 1.0  # that decoding one photo may take


def photo(size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a picture with smooth parts, edges and noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    noise = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    return Image.blend(smooth, noise.filter(ImageFilter.GaussianBlur(2)), 0.2)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """Return an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def files() -> dict[str, bytes]:
    """Return the photo in several formats."""
    pillow_heif.register_heif_opener()
    image = photo()
    grey16 = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return {
        "JPEG": saved(image, "JPEG", quality=90),
        "JPEG, progressive": saved(image, "JPEG", quality=90, progressive=True),
        "JPEG, CMYK": saved(image.convert("CMYK"), "JPEG", quality=90),
        "PNG": saved(image, "PNG", compress_level=3),
        "PNG, alpha": saved(image.convert("RGBA"), "PNG", compress_level=3),
        "PNG, 16-bit grey": saved(grey16, "PNG", compress_level=3),
        "TIFF": saved(image, "TIFF"),
        "TIFF, LZW": saved(image, "TIFF", compression="tiff_lzw"),
        "WebP": saved(image, "WEBP", quality=85, method=0),
        "HEIC": saved(image, "HEIF", quality=60),
        "AVIF": saved(image, "AVIF", quality=60, speed=10),
        "JPEG of 192 x 128": saved(image.resize((192, 128)), "JPEG", quality=90),
    }


def by_pillow(data: bytes) -> None:
    """Decode a file with Pillow alone."""
    image = open_header(data, sniff(data) or "")
    if sniff(data) == "JPEG":
        image.draft(None, (SIDE, SIDE))
    image.load()


def milliseconds(step: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    started = time.process_time()
    step()
    return 1000 * (time.process_time() - started)


def measure_times(results: Results, rounds: int) -> None:
    """Fill the table of times."""
    columns = {"photo": "", "MB": ".2f", "Pillow, ms": ".1f", "decode, ms": ".1f", "ratio": ".2f"}
    table = results.table("times", columns)
    for name, data in files().items():
        plain, whole = [], []
        for _ in range(rounds):
            plain.append(milliseconds(partial(by_pillow, data)))
            whole.append(milliseconds(partial(decode, data, shorter_side=SIDE)))
        table.row(name, len(data) / 1e6, min(plain), min(whole), min(whole) / min(plain))


def measure_memory(results: Results) -> None:
    """Fill the table of peaks, and count those above the bound."""
    sys.path.insert(0, str(ROOT))
    from tests.photos.large_files import large_files, peak

    columns = {"picture": "", "file, MB": ".1f"}
    columns |= {"for 224 px, MB": ",.0f", "whole, MB": ",.0f", "outcome": ""}
    table, worst = results.table("memory", columns), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, make in large_files().items():
            path = Path(folder) / name
            path.write_bytes(make())
            reduced, whole = peak(path, SIDE), peak(path, 0)
            size = path.stat().st_size / 1e6
            path.unlink()
            said = ["shown" if text.startswith("(") else "refused" for text, _ in (reduced, whole)]
            outcome = said[0] if said[0] == said[1] else f"{said[0]}, whole {said[1]}"
            table.row(name, size, reduced[1] / 1e6, whole[1] / 1e6, outcome)
            worst = max(worst, reduced[1], whole[1])
    results.fact("worst GB", worst / 1e9, ".2f")
    results.fact("aim GB", MAX_GB, "g")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-memory", action="store_true")
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    measure_times(results, arguments.rounds)
    if not arguments.skip_memory:
        measure_memory(results)
    results.save()


if __name__ == "__main__":
    main()
