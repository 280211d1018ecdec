"""Files of one smooth picture in many layouts, and colour profiles, made byte by byte."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.odd_photos import is_installed, png, png_chunk, save

WIDTH, HEIGHT = 96, 64
BYTE, SHORT, LONG, UNDEFINED = 1, 3, 4, 7  # types of TIFF fields
DEFLATE = 8


def scene(size: tuple[int, int] = (WIDTH, HEIGHT)) -> NDArray[np.float64]:
    """Return a smooth picture in colour, (height, width, 3), within [0, 1]."""
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    red = 0.5 + 0.45 * np.sin(5 * x + 2 * y)
    green = 0.5 + 0.4 * np.cos(4 * y - x)
    blue = 0.1 + 0.8 * x * y
    return np.stack([red, green, blue], axis=2)


def levels(values: NDArray[np.float64], type: str = "u1") -> NDArray[Any]:
    """Return values in [0, 1] as unsigned integers of full range, or floats."""
    to = np.dtype(type)
    if to.kind == "f":
        return values.astype(to)
    return np.round(values * np.iinfo(to).max).astype(to)


def scene_image() -> Image.Image:
    """Return the picture as an RGB image."""
    return Image.fromarray(levels(scene()))


def deep_png(values: NDArray[Any], colour: int) -> bytes:
    """Return a PNG of 16-bit samples (height, width, samples) of a PNG colour type."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour, rows)


def deep_tiff(
    values: NDArray[Any],
    photometric: int,
    *,
    extra: tuple[int, ...] = (),
    order: Literal["<", ">"] = "<",
    packed: bool = False,
    planar: bool = False,
    predictor: int = 1,
    rows_per_strip: int = 20,
    tile: int = 0,
    fields: dict[int, tuple[int, list[int] | bytes]] | None = None,
) -> bytes:
    """Return a TIFF of samples (height, width, samples), in strips or square tiles."""
    height, width, samples = values.shape
    stored = values.astype(values.dtype.newbyteorder(order))
    parts = [stored[..., n : n + 1] for n in range(samples)] if planar else [stored]
    step = (tile, tile) if tile else (rows_per_strip, width)
    blocks = [
        _block(part[top : top + step[0], left : left + step[1]], tile, predictor)
        for part in parts
        for top in range(0, height, step[0])
        for left in range(0, width, step[1])
    ]
    if packed:
        blocks = [zlib.compress(block) for block in blocks]
    starts = np.cumsum([8, *map(len, blocks)])[:-1].tolist()
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries: dict[int, tuple[int, list[int] | bytes]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * values.dtype.itemsize] * samples),
        259: (SHORT, [DEFLATE if packed else 1]),
        262: (SHORT, [photometric]),
        277: (SHORT, [samples]),
        284: (SHORT, [2 if planar else 1]),
        317: (SHORT, [predictor]),
        339: (SHORT, [kind] * samples),
        **({338: (SHORT, [*extra])} if extra else {}),
        **({322: (LONG, [tile]), 323: (LONG, [tile])} if tile else {278: (LONG, [step[0]])}),
        (324 if tile else 273): (LONG, starts),
        (325 if tile else 279): (LONG, [*map(len, blocks)]),
        **(fields or {}),
    }
    return tiff_page(entries, b"".join(blocks), order)


def _block(values: NDArray[Any], tile: int, predictor: int) -> bytes:
    if tile:
        missing = [(0, tile - values.shape[0]), (0, tile - values.shape[1]), (0, 0)]
        values = np.pad(values, missing)
    if predictor == 2:
        values = values.view(f"{values.dtype.byteorder}u{values.dtype.itemsize}").copy()
        values[:, 1:] = values[:, 1:] - values[:, :-1]
    if predictor == 3:
        rows, samples = len(values), values.shape[2]
        big = values.astype(values.dtype.newbyteorder(">"))
        planes = big.reshape(rows, -1, 1).view(np.uint8).reshape(rows, -1, big.dtype.itemsize)
        flat = planes.transpose(0, 2, 1).reshape(rows, -1, samples).copy()
        flat[:, 1:] = flat[:, 1:] - flat[:, :-1]
        return flat.tobytes()
    return values.tobytes()


def tiff_page(
    entries: dict[int, tuple[int, list[int] | bytes]], pixels: bytes, order: str
) -> bytes:
    pixels += bytes(len(pixels) % 2)
    at = 8 + len(pixels)
    later, table, far = at + 2 + 12 * len(entries) + 4, b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        letter = {BYTE: "B", UNDEFINED: "B", SHORT: "H", LONG: "I"}[kind]
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            where = struct.pack(f"{order}I", later + len(far))
            far += packed + bytes(len(packed) % 2)
        else:
            where = packed.ljust(4, b"\0")
        table += struct.pack(f"{order}HHI", tag, kind, len(values)) + where
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", at)
    return head + pixels + struct.pack(f"{order}H", len(entries)) + table + bytes(4) + far


# -------------------------------------------------------------------------------------- profiles


def profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return a version 2 ICC profile of a colour space, such as b"GRAY", with these tags."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(0.9642, 1.0, 0.8249), **tags}
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I", start + len(body)) + bytes(4) + b"\x02\x40\0\0" + kind + space
    head += connection + bytes(12) + b"acsp" + bytes(28) + _fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + body


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def swapped_profile() -> bytes:
    """Return a profile like sRGB with the primaries of red and green exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        data[at : at + 4].decode(): struct.unpack(">II", data[at + 4 : at + 12])
        for at in range(132, 132 + 12 * struct.unpack(">I", data[128:132])[0], 12)
    }
    (red, size), (green, _) = tags["rXYZ"], tags["gXYZ"]
    data[red : red + size], data[green : green + size] = (
        data[green : green + size],
        data[red : red + size],
    )
    return bytes(data)


def wide_profile() -> bytes:
    """Return a profile with the primaries of Display P3 and a gamma of 2."""
    gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, 512) + bytes(2)
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    colours = {name: b"XYZ \0\0\0\0" + _fixed(*xyz) for name, xyz in primaries.items()}
    return profile(b"RGB ", b"XYZ ", colours | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma))


def linear_grey_profile() -> bytes:
    """Return a profile of grey that is proportional to light."""
    return profile(b"GRAY", b"XYZ ", {b"kTRC": b"curv\0\0\0\0" + bytes(4)})


def ink_profile() -> bytes:
    """Return a profile of four inks, of which cyan shows as red."""
    steps = bytes(range(256))
    grid = b""
    for cyan, magenta, yellow, black in np.ndindex(2, 2, 2, 2):
        light = 255 * (1 - black) * (1 - 0.5 * cyan) * (1 - 0.4 * magenta) * (1 - 0.1 * yellow)
        grid += bytes([round(light), 128 + 60 * cyan * (1 - black), 128 + 50 * cyan * (1 - black)])
    head = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return profile(b"CMYK", b"Lab ", {b"A2B0": head + 4 * steps + grid + 3 * steps})


# ------------------------------------------------------------------------------------- the table


def table() -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of files without a profile that every viewer shows in the same way."""
    image, values = scene_image(), scene()
    grey = image.convert("L")
    fine = {"quality": 95, "subsampling": 0}
    yield "plain.jpg", save(image, "JPEG", **fine)
    yield "progressive.jpg", save(image, "JPEG", progressive=True, **fine)
    yield "grey.jpg", save(grey, "JPEG", quality=95)
    yield "cmyk.jpg", save(image.convert("CMYK"), "JPEG", **fine)
    yield "plain.png", save(image, "PNG")
    yield "palette.png", save(image.quantize(64), "PNG")
    yield "bits.png", save(grey.convert("1"), "PNG")
    yield "grey 16.png", deep_png(levels(values[..., :1], "u2"), 0)
    yield "rgb 16.png", deep_png(levels(values, "u2"), 2)
    yield "plain.gif", save(image.quantize(64), "GIF")
    yield "plain.bmp", save(image, "BMP")
    yield "grey.bmp", save(grey, "BMP")
    yield "plain.webp", save(image, "WEBP", lossless=True)
    yield "lossy.webp", save(image, "WEBP", quality=95)
    for compression in ("raw", "tiff_lzw", "packbits", "tiff_adobe_deflate"):
        yield f"{compression}.tif", save(image, "TIFF", compression=compression)
    yield "cmyk.tif", save(image.convert("CMYK"), "TIFF")
    for photometric, name in enumerate(("white is zero", "black is zero")):
        for type in ("u1", "u2", "f4")[: 2 + photometric]:  # ImageMagick never inverts floats
            samples = levels(values[..., :1], type)
            yield f"{name} {type}.tif", deep_tiff(samples, photometric)
            yield f"{name} {type} big.tif", deep_tiff(samples, photometric, order=">")
    for type in ("u2", "f4"):
        samples = levels(values, type)
        yield f"rgb {type}.tif", deep_tiff(samples, 2)
        yield f"rgb {type} packed.tif", deep_tiff(samples, 2, packed=True, order=">")
        yield f"rgb {type} planar.tif", deep_tiff(samples, 2, planar=True)
        yield f"rgb {type} tiled.tif", deep_tiff(samples, 2, tile=32, packed=True)
        same = deep_tiff(samples, 2, predictor=3 if type == "f4" else 2, packed=True)
        yield f"rgb {type} predicted.tif", same
    if is_installed("pillow_heif"):
        yield "plain.heic", heic(image, quality=95)
    ink = levels(np.concatenate([values, values[..., :1] / 2], axis=2))
    yield "cmyk spot.tif", deep_tiff(np.concatenate([ink, ink[..., :1]], axis=2), 5, extra=(0,))
    yield "cmyk 16.tif", deep_tiff(ink.astype("u2") * 257, 5)


def profile_table() -> Iterator[tuple[str, bytes]]:
    """Yield files with a colour profile."""
    image, wide = scene_image(), wide_profile()
    grey, inks = image.convert("L"), image.convert("CMYK")
    fine = {"quality": 95, "subsampling": 0}
    yield "wide.jpg", save(image, "JPEG", icc_profile=wide, **fine)
    yield "swapped.jpg", save(image, "JPEG", icc_profile=swapped_profile(), **fine)
    yield "inks.jpg", save(inks, "JPEG", icc_profile=ink_profile(), **fine)
    yield "inks.tif", save(inks, "TIFF", icc_profile=ink_profile())
    yield "grey.jpg", save(grey, "JPEG", quality=95, icc_profile=linear_grey_profile())
    yield "wide.png", save(image, "PNG", icc_profile=wide)
    yield "wide.webp", save(image, "WEBP", lossless=True, icc_profile=wide)
    yield "wide.tif", save(image, "TIFF", icc_profile=wide)


def alpha_table() -> Iterator[tuple[str, bytes]]:
    """Yield files with transparent parts that every viewer shows alike on white."""
    image = scene_image()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    yield "alpha.png", save(image, "PNG")
    yield "alpha.webp", save(image, "WEBP", lossless=True)
    yield "grey alpha.png", save(image.convert("LA"), "PNG")
    both = np.concatenate([scene(), np.asarray(image)[..., 3:] / 255], axis=2)
    yield "alpha 16.png", deep_png(levels(both, "u2"), 6)
    yield "alpha 16.tif", deep_tiff(levels(both, "u2"), 2, extra=(2,))
    yield "grey alpha 16.tif", deep_tiff(levels(both[..., 2:], "u2"), 1, extra=(2,))


def heic(*images: Image.Image, **options: Any) -> bytes:
    """Return images as HEIC; skip the test where the extra is missing."""
    pillow_heif = pytest.importorskip("pillow_heif")
    file, buffer = pillow_heif.HeifFile(), io.BytesIO()
    for image in images:
        file.add_from_pillow(image)
    file.save(buffer, **options)
    return buffer.getvalue()


def chunked(data: bytes, *chunks: bytes) -> bytes:
    """Return a PNG with more chunks behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def broken_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk with a wrong checksum."""
    return png_chunk(kind, data)[:-4] + b"oops"


def opened(data: bytes) -> Image.Image:
    """Return the image that Pillow sees in a file."""
    return Image.open(io.BytesIO(data))
