"""A folder of everything that people, cameras, broken disks and attackers leave among photos.

`make_odd_photos` writes it and returns, for each entry, whether it can be decoded. Every photo
except the link has bytes of its own.
"""

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

WIDTH, HEIGHT = 96, 64
CORNERS = {  # the upright test picture: one colour per quarter, so any turn or flip shows
    "top left": (200, 30, 30),
    "top right": (30, 180, 30),
    "bottom left": (30, 30, 200),
    "bottom right": (230, 220, 60),
}
UNTURN = {  # EXIF orientation -> how to turn the upright picture into the stored one
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
SHORT, LONG = 3, 4  # the TIFF field types used here


@dataclass(frozen=True)
class OddPhoto:
    """One entry of the folder: whether it can be decoded, and what is odd about it."""

    path: Path
    is_photo: bool
    why: str


Entry = tuple[str, bytes, bool, str]


def picture(size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Paint the upright test picture."""
    image = Image.new("RGB", size, CORNERS["top left"])
    across, down = size[0] // 2, size[1] // 2
    image.paste(CORNERS["top right"], (across, 0, size[0], down))
    image.paste(CORNERS["bottom left"], (0, down, across, size[1]))
    image.paste(CORNERS["bottom right"], (across, down, *size))
    return image


def corner_colours(image: Image.Image) -> dict[str, tuple[int, ...]]:
    """Return the colour near each corner."""
    right, bottom = image.width - 6, image.height - 6
    points = {
        "top left": (5, 5),
        "top right": (right, 5),
        "bottom left": (5, bottom),
        "bottom right": (right, bottom),
    }
    return {name: pixel(image, x, y) for name, (x, y) in points.items()}


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """Return the RGB values of one pixel."""
    return tuple(map(int, np.asarray(image)[y, x]))


def assert_upright(image: Image.Image, tolerance: int = 12) -> None:
    """Check that an RGB image shows the test picture the right way up."""
    assert image.mode == "RGB"
    for corner, colour in corner_colours(image).items():
        np.testing.assert_allclose(colour, CORNERS[corner], atol=tolerance, err_msg=corner)


def noise(width: int, height: int, *, seed: int) -> Image.Image:
    """Paint a picture that compresses badly, so that a cut file lacks much of it."""
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(**options: Any) -> bytes:
    """Return the test picture as a JPEG."""
    return save(picture(), "JPEG", **{"quality": 95, "subsampling": 0, **options})


def turned_jpeg(number: int, **options: Any) -> bytes:
    """Return a JPEG that shows the upright test picture once its EXIF orientation is applied."""
    stored = picture().transpose(UNTURN[number]) if number in UNTURN else picture()
    exif = Image.Exif()
    exif[0x0112] = number
    return save(stored, "JPEG", quality=95, subsampling=0, exif=exif, **options)


def exif_jpeg(fill: Callable[[Image.Exif], None], *, xmp: bytes = b"") -> bytes:
    """Return a JPEG with the EXIF block that `fill` writes, and an XMP packet."""
    exif = Image.Exif()
    fill(exif)
    return jpeg(exif=exif, xmp=xmp)


def raw_exif_jpeg(block: bytes) -> bytes:
    """Return a JPEG whose EXIF segment holds these bytes, valid or not."""
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    plain = jpeg()
    return plain[:2] + segment + plain[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file with a correct checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """Return a PNG file of rows, each after its filter byte; extra chunks come before them."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body


Fields = dict[int, tuple[int, list[int] | bytes]]


def tiff(fields: Fields, pixels: bytes, *, preview: bytes = b"") -> bytes:
    """Return a little-endian TIFF of one strip; a JPEG preview becomes its second page.

    A field is (type, values); values of types 1 and 2 are bytes.
    """
    pages = [({**fields, 273: (LONG, [8]), 279: (LONG, [len(pixels)])})]
    if preview:
        width, height = Image.open(io.BytesIO(preview)).size
        pages.append(_preview_fields(width, height, 8 + len(pixels), len(preview)))
    data = pixels + preview + bytes(len(pixels + preview) % 2)
    at = 8 + len(data)
    first = at
    for number, page in enumerate(pages, start=1):
        table = _ifd(page, at, is_last=number == len(pages))
        data += table
        at += len(table)
    return b"II*\0" + struct.pack("<I", first) + data


def _preview_fields(width: int, height: int, at: int, length: int) -> Fields:
    return {
        254: (LONG, [1]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8, 8, 8]),
        259: (SHORT, [7]),
        262: (SHORT, [6]),
        273: (LONG, [at]),
        277: (SHORT, [3]),
        278: (LONG, [height]),
        279: (LONG, [length]),
    }


def _ifd(fields: Fields, at: int, *, is_last: bool) -> bytes:
    """Pack one TIFF directory that begins at byte `at`; the next one comes right after it."""
    later = at + 2 + 12 * len(fields) + 4
    table, overflow = b"", b""
    for tag, (kind, values) in sorted(fields.items()):
        packed = values if isinstance(values, bytes) else _pack(kind, values)
        count = len(packed) // 8 if kind in (5, 10) else len(values)
        if len(packed) > 4:
            place = later + len(overflow)
            overflow += packed + bytes(len(packed) % 2)
            packed = struct.pack("<I", place)
        table += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
    following = 0 if is_last else later + len(overflow)
    return struct.pack("<H", len(fields)) + table + struct.pack("<I", following) + overflow


def _pack(kind: int, values: list[int]) -> bytes:
    signs = {SHORT: "H", LONG: "I", 5: "I", 10: "i"}
    return struct.pack(f"<{len(values)}{signs[kind]}", *values)


def dng(
    width: int = 640, height: int = 512, *, orientation: int = 1, preview: bytes = b""
) -> bytes:
    """Return a RAW file as from a camera: RGGB, bright in the left half as stored."""
    values = np.full((height, width), 6000, np.uint16)
    values[:, : width // 2] = 40000
    matrix = [32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570]
    fields: Fields = {
        254: (LONG, [0]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [16]),
        259: (SHORT, [1]),
        262: (SHORT, [32803]),
        271: (2, b"Acme\0"),
        272: (2, b"Acme One\0"),
        274: (SHORT, [orientation]),
        277: (SHORT, [1]),
        278: (LONG, [height]),
        284: (SHORT, [1]),
        306: (2, b"2021:06:05 04:03:02\0"),
        33421: (SHORT, [2, 2]),
        33422: (1, bytes([0, 1, 1, 2])),
        50706: (1, bytes([1, 4, 0, 0])),
        50707: (1, bytes([1, 1, 0, 0])),
        50708: (2, b"Acme One\0"),
        50717: (LONG, [65535]),
        50721: (10, [part for value in matrix for part in (value, 10000)]),
        50728: (5, [1, 1, 1, 1, 1, 1]),
        50778: (SHORT, [21]),
    }
    return tiff(fields, values.tobytes(), preview=preview)


def ycck_jpeg() -> bytes:
    """Return the test picture as Adobe's YCCK: its negative in YCbCr and black, all inverted."""
    negative = Image.eval(picture(), lambda value: 255 - value).convert("YCbCr")
    planes = [Image.eval(plane, lambda value: 255 - value) for plane in negative.split()]
    four = Image.merge("CMYK", [*planes, Image.new("L", picture().size, 0)])
    data = bytearray(save(four, "JPEG", quality=95, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2  # the colour transform: 0 is CMYK, 2 is YCCK
    return bytes(data)


def deep_values() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return 16-bit grey (64, 96): black at the left to full white at the right."""
    return np.tile(np.linspace(0, 65535, WIDTH).astype(np.uint16), (HEIGHT, 1))


def endless_scans() -> bytes:
    """Return a progressive JPEG whose last pass is repeated thousands of times."""
    data = jpeg(progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * 5000 + b"\xff\xd9"


def _frames() -> list[Image.Image]:
    return [noise(WIDTH, HEIGHT, seed=seed) for seed in (1, 2)]


def _cut_files() -> Iterator[Entry]:
    whole = save(noise(400, 300, seed=3), "JPEG", quality=90)
    for tenth in range(1, 10):
        data = whole[: len(whole) * tenth // 10]
        yield f"cut at {tenth}0 percent.jpg", data, False, f"a JPEG cut at {tenth} tenths"
    yield "zero bytes.jpg", b"", False, "an empty file"
    half = whole[: len(whole) // 2]
    yield "filled up.jpg", half.ljust(len(whole), b"\0"), False, "second half never downloaded"
    yield "only zeros.jpg", bytes(5000), False, "zeros alone"
    for format in ("PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"):
        data = save(noise(120, 90, seed=4), format)
        yield f"cut.{format.lower()}", data[: len(data) * 6 // 10], False, f"half a {format}"
    wrong = bytearray(save(noise(60, 60, seed=5), "PNG"))
    wrong[wrong.index(b"IDAT") + 400] ^= 0xFF
    yield "bit rot.png", bytes(wrong), False, "a byte of the compressed rows is wrong"


def _wrong_names() -> Iterator[Entry]:
    yield "png named.jpg", save(noise(50, 40, seed=6), "PNG"), True, "a PNG called .jpg"
    yield "jpeg named.png", save(noise(50, 40, seed=7), "JPEG"), True, "a JPEG called .png"
    yield "webp named.jpeg", save(noise(50, 40, seed=8), "WEBP"), True, "a WebP called .jpeg"
    yield "UPPER.JPG", jpeg(comment=b"upper"), True, "a suffix in capitals"
    yield "jpeg named.cr2", jpeg(comment=b"raw"), True, "a JPEG called like a RAW file"
    yield "text.jpg", b"Dear diary,\nno photos today.\n", False, "text"
    yield "page.jpg", b"\n<!DOCTYPE html><html><body>404</body></html>", False, "a web page"
    yield "drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", False, "an SVG drawing"
    yield "film.jpg", b"\0\0\0\x14ftypisom\0\0\2\0isom" + bytes(range(256)), False, "a video"
    yield "side.jpg", b"\0\x05\x16\x07\0\2\0\0Mac OS X" + bytes(60), False, "AppleDouble"
    yield "random.jpg", np.random.default_rng(9).bytes(4000), False, "random bytes"
    yield "garbage.nef", np.random.default_rng(10).bytes(4000), False, "random bytes called RAW"
    yield "tiff.nef", b"II*\0" + bytes(500), False, "a TIFF header alone, called RAW"


def _bombs() -> Iterator[Entry]:
    yield "60000.png", png(60000, 60000, 8, 2, bytes(100)), False, "a header of 3.6 gigapixels"
    rows = bytes(20000 * (1 + 2500))
    yield "bomb.png", png(20000, 20000, 1, 0, rows), False, "400 megapixels in 50 kB"
    text = b"Comment\0\0" + zlib.compress(bytes(3_000_000))
    grey = bytes(10 * 11)
    yield "text.png", png(10, 10, 8, 0, grey, png_chunk(b"zTXt", text)), True, "3 MB of packed text"
    gif = b"GIF89a" + struct.pack("<HHBBB", 65000, 65000, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0;"
    yield "bomb.gif", gif + frame, False, "one pixel on a canvas of 65,000 x 65,000"
    bmp = bytearray(save(picture(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    yield "bomb.bmp", bytes(bmp), False, "a BMP that claims 60,000 x 60,000"
    huge = bytearray(jpeg())
    at = huge.index(b"\xff\xc0") + 5
    huge[at : at + 4] = struct.pack(">HH", 65000, 65000)
    yield "bomb.jpg", bytes(huge), False, "a JPEG that claims 65,000 x 65,000"
    yield "endless.jpg", endless_scans(), False, "a progressive JPEG of 5,000 passes"


def _modes() -> Iterator[Entry]:
    image = picture()
    alpha = image.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    clear = image.convert("P")
    yield "cmyk.jpg", save(image.convert("CMYK"), "JPEG"), True, "CMYK, inverted as Adobe does"
    yield "ycck.jpg", ycck_jpeg(), True, "Adobe's YCCK"
    yield "cmyk.tif", save(image.convert("CMYK"), "TIFF"), True, "CMYK, not inverted"
    yield "lab.tif", save(Image.new("LAB", (30, 20), (150, 140, 120)), "TIFF"), True, "L*a*b*"
    yield "grey.jpg", save(image.convert("L"), "JPEG"), True, "grey"
    yield "la.png", save(alpha.convert("LA"), "PNG"), True, "grey with alpha"
    yield "rgba.png", save(alpha, "PNG"), True, "colour with alpha"
    yield "rgba.webp", save(alpha, "WEBP"), True, "colour with alpha, lossy"
    yield "rgba.tif", save(alpha, "TIFF"), True, "colour with alpha"
    yield "palette.png", save(clear, "PNG", transparency=0), True, "a palette with a clear colour"
    table = bytes(range(256))
    yield "table.png", save(clear, "PNG", transparency=table), True, "a palette with alpha"
    yield "clear.png", save(image, "PNG", transparency=CORNERS["top left"]), True, "a clear colour"
    yield "clear.gif", save(clear, "GIF", transparency=1), True, "a GIF with a clear colour"
    yield "bits.png", save(image.convert("1"), "PNG"), True, "one bit a pixel"
    fax = save(image.convert("1"), "TIFF", compression="group4")
    yield "fax.tif", fax, True, "a fax page"


def _deep_pictures() -> Iterator[Entry]:
    deep = deep_values()
    yield "deep.png", save(Image.fromarray(deep), "PNG"), True, "16-bit grey PNG"
    yield "deep.tif", save(Image.fromarray(deep), "TIFF"), True, "16-bit grey TIFF"
    colour = np.repeat(deep[..., None], 3, axis=2)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    yield "deep colour.png", png(WIDTH, HEIGHT, 16, 2, rows), True, "16-bit colour PNG"
    fields: Fields = {
        256: (SHORT, [WIDTH]),
        257: (SHORT, [HEIGHT]),
        258: (SHORT, [16, 16, 16]),
        259: (SHORT, [1]),
        262: (SHORT, [2]),
        277: (SHORT, [3]),
        278: (SHORT, [HEIGHT]),
    }
    yield "deep colour.tif", tiff(fields, colour.tobytes()), True, "16-bit colour TIFF"
    unit = (deep / 65535).astype(np.float32)
    yield "float.tif", save(Image.fromarray(unit), "TIFF"), True, "floats from 0 to 1"
    wild = unit * 5000 - 100
    wild[:5] = np.nan
    wild[5:9] = np.inf
    yield "wild float.tif", save(Image.fromarray(wild), "TIFF"), True, "floats, NaN and infinity"
    integers = Image.fromarray(deep.astype(np.int32) * 1000 - 7)
    yield "integers.tif", save(integers, "TIFF"), True, "32-bit integers"


def _exif() -> Iterator[Entry]:
    for number in range(1, 9):
        yield f"turned {number}.jpg", turned_jpeg(number), True, f"EXIF orientation {number}"
    garbage = np.random.default_rng(11).bytes(300)
    yield "exif garbage.jpg", raw_exif_jpeg(garbage), True, "EXIF of random bytes"
    entry = struct.pack("<HHII", 0x8769, 4, 1, 0xFFFFFFF0) + struct.pack(
        "<HHII", 271, 2, 99, 1 << 31
    )
    far = b"II*\0\x08\0\0\0\x02\0" + entry + struct.pack("<I", 0xFFFFFF00)
    yield "exif far.jpg", raw_exif_jpeg(far), True, "EXIF that points far beyond the file"
    loop = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\x08\0\0\0"
    yield "exif loop.jpg", raw_exif_jpeg(loop), True, "EXIF that contains itself"
    yield (
        "exif cut.jpg",
        raw_exif_jpeg(b"II*\0\x08\0\0\0\xff\xff"),
        True,
        "65,535 tags, none of them present",
    )

    def no_date(exif: Image.Exif) -> None:
        exif[0x0132] = "0000:00:00 00:00:00"
        exif.get_ifd(0x8769)[0x9003] = "    :  :     :  :  "

    def no_position(exif: Image.Exif) -> None:
        nothing = (IFDRational(0, 0), IFDRational(1, 0), IFDRational(5, 0))
        exif.get_ifd(0x8825).update({1: "N", 2: nothing, 3: "E", 4: nothing})

    def no_orientation(exif: Image.Exif) -> None:
        exif[0x0112] = 77

    yield "exif date.jpg", exif_jpeg(no_date), True, "the date 0000:00:00"
    yield "exif gps.jpg", exif_jpeg(no_position), True, "GPS with zero denominators"
    yield "exif turn.jpg", exif_jpeg(no_orientation), True, "EXIF orientation 77"


def _formats() -> Iterator[Entry]:
    first, second = _frames()
    for name in ("animated.gif", "animated.webp", "animated.png"):
        format = name.split(".")[1].upper()
        moving = save(first, format, save_all=True, append_images=[second], duration=50)
        yield name, moving, True, f"an animated {format}: its first frame"
    pages = save(first, "TIFF", save_all=True, append_images=[second])
    yield "pages.tif", pages, True, "a TIFF of two pages: its first"
    pair = save(first, "MPO", save_all=True, append_images=[second])
    yield "pair.jpg", pair, True, "a multi-picture JPEG: its first"
    yield "lossless.webp", save(first, "WEBP", lossless=True), True, "lossless WebP"
    yield "still.avif", save(picture(), "AVIF", quality=90), True, "AVIF"
    yield "plain.bmp", save(picture(), "BMP"), True, "a 24-bit BMP"
    yield "palette.bmp", save(picture().convert("P"), "BMP"), True, "an 8-bit BMP"
    yield "bits.bmp", save(picture().convert("1"), "BMP"), True, "a 1-bit BMP"
    yield "alpha.bmp", save(picture().convert("RGBA"), "BMP"), True, "a 32-bit BMP"
    yield "packed.tif", save(picture(), "TIFF", compression="tiff_lzw"), True, "an LZW TIFF"
    yield "inner.tif", save(picture(), "TIFF", compression="jpeg"), True, "JPEG inside a TIFF"
    yield "progressive.jpg", jpeg(progressive=True), True, "a progressive JPEG"
    tail = np.random.default_rng(12).bytes(3000)
    yield "tail.jpg", jpeg() + tail, True, "a JPEG with bytes behind its end"
    yield "twice.jpg", jpeg() + jpeg(quality=50), True, "two JPEGs in one file: the first"
    yield "dot.png", save(Image.new("RGB", (1, 1)), "PNG"), True, "one pixel"
    yield "thin.png", save(noise(1, 5000, seed=13), "PNG"), True, "1 x 5,000 pixels"
    yield "wide.jpg", save(noise(5000, 1, seed=14), "JPEG"), True, "5,000 x 1 pixels"


def _extras() -> Iterator[Entry]:
    """Yield files that need the extras `heif` and `raw`; without these they cannot be decoded."""
    has_raw = is_installed("rawpy")
    yield "camera.dng", dng(), has_raw, "a RAW file without a preview"
    shown = save(noise(640, 512, seed=16), "JPEG")
    yield "preview.dng", dng(preview=shown), has_raw, "a RAW file with a preview"
    with suppress(ImportError):
        import pillow_heif

        data = io.BytesIO()
        pillow_heif.from_pillow(noise(128, 96, seed=15)).save(data, quality=90)
        yield "phone.heic", data.getvalue(), True, "HEIC"
        yield "cut.heic", data.getvalue()[: len(data.getvalue()) // 2], False, "half a HEIC"


def is_installed(module: str) -> bool:
    """Return True if a module can be imported."""
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def _odd_names() -> Iterator[Entry]:
    names = {
        "line\nbreak.jpg": "a line break in its name",
        "tab\tand \x1b[31mred.jpg": "control characters in its name",
        "emoji \N{DOG FACE} \N{ZERO WIDTH JOINER}.jpg": "an emoji in its name",
        "cafe\N{COMBINING ACUTE ACCENT}.jpg": "a decomposed accent in its name",
        "'single' and \"double\".jpg": "quotes in its name",
        "-rf.jpg": "a name like an option",
        "back\\slash.jpg": "a backslash in its name",
        "100%s {0} $HOME `id`.jpg": "a name that looks like code",
        " leading and trailing .jpg": "spaces around its name",
        "n" * 251 + ".jpg": "a name of 255 bytes",
        os.fsdecode(b"not \xff\xfe utf-8.jpg"): "a name that is not UTF-8",
    }
    for number, (name, why) in enumerate(names.items()):
        yield name, jpeg(comment=f"name {number}".encode()), True, why


def _special_files(folder: Path) -> Iterator[OddPhoto]:
    """Yield links, pipes, sockets and folders, except kinds that the system refuses to create."""
    target = folder / "linked to.jpg"
    target.write_bytes(jpeg(comment=b"linked"))
    yield OddPhoto(target, True, "an ordinary photo")
    links = {"link.jpg": "linked to.jpg", "dangling.jpg": "nowhere.jpg", "loop.jpg": "loop.jpg"}
    for name, to in links.items():
        (folder / name).symlink_to(to)
        yield OddPhoto(folder / name, to == "linked to.jpg", f"a symbolic link to {to}")
    (folder / "folder.jpg").mkdir()
    yield OddPhoto(folder / "folder.jpg", False, "a folder called .jpg")
    os.mkfifo(folder / "pipe.jpg")
    yield OddPhoto(folder / "pipe.jpg", False, "a pipe without a writer")
    with suppress(OSError):
        os.mknod(folder / "socket.jpg", stat.S_IFSOCK | 0o600)
        yield OddPhoto(folder / "socket.jpg", False, "a socket")
    large = folder / "large.jpg"
    with large.open("wb") as file:
        file.truncate(3 * 1024**3)  # a sparse file: takes no space on the disk
    yield OddPhoto(large, False, "3 GiB of zeros")
    closed = folder / "closed.jpg"
    closed.write_bytes(jpeg(comment=b"closed"))
    closed.chmod(0)
    yield OddPhoto(closed, os.access(closed, os.R_OK), "no permission (root can read it)")


def make_odd_photos(folder: Path) -> list[OddPhoto]:
    """Fill a folder with more than a hundred odd and hostile files; return what each of them is."""
    made = []
    sources = (_cut_files, _wrong_names, _bombs, _modes, _deep_pictures, _exif, _formats, _extras)
    for source in (*sources, _odd_names):
        for name, data, is_photo, why in source():
            path = folder / name
            try:
                path.write_bytes(data)
            except OSError:  # the file system refuses the name
                continue
            made.append(OddPhoto(path, is_photo, why))
    return [*made, *_special_files(folder)]
