"""Read the TIFF layouts that Pillow lacks or shows wrongly: deep pixels, spot colours, float RGB.

Pillow unpacks each strip or tile as rows of bytes, whatever they are compressed with; numpy turns
bytes into samples, and samples into 8 bits. The picture is never whole in memory.
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from mkt_search.errors import PhotoError
from mkt_search.photos.colour import to_8_bits

Bytes = NDArray[np.uint8]

_WIDTH, _HEIGHT, BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _SAMPLES, ROWS_PER_STRIP, _STRIP_SIZES, _PLANES = 273, 277, 278, 279, 284
_PREDICTOR, TILE_WIDTH, TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 317, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE = 338, 339, 34675
ORIENTATION = 274

_UNPACKED = 1
_LOSSLESS = (_UNPACKED, 5, 8, 32773, 32946, 34925, 50000)  # LZW, deflate, PackBits, LZMA, zstd
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # sample format -> kind of a numpy type
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3
_WHITE_IS_ZERO, _CIE_LAB = 0, 8
_MODES = {_WHITE_IS_ZERO: "L", 1: "L", 2: "RGB", 5: "CMYK", _CIE_LAB: "LAB", 9: "LAB"}
_BANDS = {"L": 1, "RGB": 3, "CMYK": 4, "LAB": 3}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_PIXELS_AT_ONCE = 256 * 1024
_ASSOCIATED, _UNASSOCIATED = 1, 2  # alpha that the colours are multiplied by, or not


def directory(data: bytes) -> Any:
    """Return the tags of the first page. Raises whatever Pillow raises on a damaged directory."""
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if 43 in data[2:4] else data[:8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return tags


def is_deep(tags: Any) -> bool:
    """Return True for samples of 16 bits or more, which Pillow does not show in every layout."""
    return bool(max(tags.get(BITS, (1,))) >= 16)


@dataclass(frozen=True)
class Layout:
    """How the pixels of a page are stored; a block is a strip or a tile.

    `mode` is Pillow's for the colours, `alpha` the kind of the sample behind them, 0 for none.
    `profile` is the colour profile.
    """

    size: tuple[int, int]
    mode: str
    alpha: int
    samples: int
    type: np.dtype[Any]
    photometric: int
    compression: int
    predictor: int
    fill_order: int
    is_planar: bool
    is_tiled: bool
    block: tuple[int, int]
    offsets: Sequence[int]
    sizes: Sequence[int]
    profile: bytes | None

    @classmethod
    def of(cls, data: bytes) -> "Layout":
        """Read the layout of a file.

        Raises:
            PhotoError: it is none that is read; the text says what it is.
            Exception: the directory is damaged.
        """
        tags = directory(data)
        width, height = tags[_WIDTH], tags[_HEIGHT]
        bits, formats = tags.get(BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
        photometric = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO)
        compression = tags.get(_COMPRESSION, _UNPACKED)
        samples, predictor = tags.get(_SAMPLES, 1), tags.get(_PREDICTOR, _NO_PREDICTOR)
        mode, kind = _MODES.get(photometric, ""), _KINDS.get(formats[0], "")
        if (
            (not mode or not kind or compression not in _LOSSLESS)
            or (len({*bits}) > 1 or len({*formats}) > 1)
            or bits[0] not in ((16, 32, 64) if kind == "f" else (8, 16, 32))
            or predictor not in (_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES)
            or (predictor == _FLOAT_DIFFERENCES and kind != "f")
            or samples < _BANDS[mode]
        ):
            raise PhotoError(
                f"a TIFF of {samples} samples of {bits[0]} bits (photometric {photometric},"
                f" compression {compression}), which is not read"
            )
        is_tiled = _TILE_OFFSETS in tags
        block = width, min(tags.get(ROWS_PER_STRIP, height), height)
        return cls(
            size=(width, height),
            mode=mode,
            alpha=_alpha(mode, samples, tags.get(_EXTRA_SAMPLES, ())),
            samples=samples,
            type=np.dtype(f"{'<' if data[:2] == b'II' else '>'}{kind}{bits[0] // 8}"),
            photometric=photometric,
            compression=compression,
            predictor=predictor if compression != _UNPACKED else _NO_PREDICTOR,
            fill_order=tags.get(_FILL_ORDER, 1),
            is_planar=tags.get(_PLANES, 1) == 2 and samples > 1,
            is_tiled=is_tiled,
            block=(tags[TILE_WIDTH], tags[TILE_HEIGHT]) if is_tiled else block,
            offsets=tags[_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS],
            sizes=tags.get(_TILE_SIZES if is_tiled else _STRIP_SIZES, ()),
            profile=tags.get(_PROFILE),
        )

    @property
    def across(self) -> int:
        """Blocks side by side."""
        return -(-self.size[0] // self.block[0])

    @property
    def down(self) -> int:
        """Blocks one below the other."""
        return -(-self.size[1] // self.block[1])

    @property
    def together(self) -> int:
        """Samples of a pixel that are stored together."""
        return 1 if self.is_planar else self.samples

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of a block, unpacked."""
        return self.block[0] * self.together * self.type.itemsize

    @property
    def held_bytes(self) -> int:
        """Memory that reading takes: a row of unpacked blocks twice, while the last is unpacked."""
        if self.compression == _UNPACKED:
            return 0
        planes = self.samples if self.is_planar else 1
        return self.row_bytes * self.block[1] * (planes * self.across + 1)


def _alpha(mode: str, samples: int, extra: Sequence[int]) -> int:
    if mode not in _WITH_ALPHA or samples == _BANDS[mode]:
        return 0
    if not extra:  # undeclared: taken for alpha behind RGB, as Pillow does
        return _UNASSOCIATED if mode == "RGB" else 0
    return extra[0] if extra[0] in (_ASSOCIATED, _UNASSOCIATED) else 0


class Samples:
    """The pixels of the first page of a TIFF, read by rows.

    Raises:
        As `Layout.of`.
    """

    def __init__(self, data: bytes) -> None:
        self.layout = Layout.of(data)
        self._data = data
        self._held: tuple[int, list[list[Bytes]]] = (-1, [])  # a row of blocks, by plane

    @property
    def mode(self) -> str:
        """Pillow's mode of what `rows` returns."""
        layout = self.layout
        return _WITH_ALPHA[layout.mode] if layout.alpha else layout.mode

    def rows(self, top: int, bottom: int) -> Bytes:
        """Return rows of pixels, (bottom - top, width, bands) uint8.

        Raises:
            OSError: the file is cut or damaged there.
        """
        values = self._values(top, bottom)
        bands = _BANDS[self.layout.mode]
        colours = self._colours(values[..., :bands])
        if not self.layout.alpha:
            return colours
        alpha = self._unit(values[..., bands : bands + 1])
        if self.layout.alpha == _ASSOCIATED:
            part = np.maximum(alpha, 1).astype(np.float32) / 255
            colours = (colours / part).clip(0, 255).astype(np.uint8)
        return np.concatenate([colours, alpha], axis=2)

    def _colours(self, values: NDArray[Any]) -> Bytes:
        layout = self.layout
        if layout.photometric == _CIE_LAB and layout.type.kind != "f":
            high = (values >> (8 * layout.type.itemsize - 8)).astype(np.uint8)
            return high ^ np.array([0, 128, 128], np.uint8)  # a and b are signed
        if layout.type.kind == "u" and layout.type.itemsize <= 2:
            colours = self._unit(values)
        else:
            colours = to_8_bits(values, *self._range)
        return 255 - colours if layout.photometric == _WHITE_IS_ZERO else colours

    def _unit(self, values: NDArray[Any]) -> Bytes:
        """Scale values whose white is the largest of their type, or 1 for floats, to 8 bits."""
        if values.dtype.kind == "f":
            return to_8_bits(values, 0, 1)
        return (values >> (8 * values.dtype.itemsize - 8)).astype(np.uint8)

    @cached_property
    def _range(self) -> tuple[float, float]:
        """What is black and white among floats and integers that have no defined white.

        0 and 1 for floats that are mostly within them; else the smallest and largest finite value.
        """
        low, high, inside, count = np.inf, -np.inf, 0, 0
        width, height = self.layout.size
        step = max(1, _PIXELS_AT_ONCE // width)
        for top in range(0, height, step):
            values = self._values(top, min(top + step, height))[..., : _BANDS[self.layout.mode]]
            finite = values[np.isfinite(values)]
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
                inside += int(((finite >= 0) & (finite <= 1)).sum())
                count += finite.size
        is_unit = not count or (self.layout.type.kind == "f" and 2 * inside > count)
        return (0.0, 1.0) if is_unit else (low, high)

    def _values(self, top: int, bottom: int) -> NDArray[Any]:
        """Return rows of samples as stored, (bottom - top, width, samples)."""
        parts, rows_of_block = [], self.layout.block[1]
        while top < bottom:
            number = top // rows_of_block
            start = number * rows_of_block
            end = min(bottom, start + rows_of_block)
            planes = [
                np.concatenate(
                    [self._of_block(block[top - start : end - start]) for block in plane], axis=1
                )[:, : self.layout.size[0]]
                for plane in self._row_of_blocks(number)
            ]
            parts.append(planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2))
            top = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _of_block(self, rows: Bytes) -> NDArray[Any]:
        """Return the samples of rows of a block, (rows, width of the block, samples together)."""
        layout = self.layout
        shape = len(rows), layout.block[0], layout.together
        if layout.predictor == _FLOAT_DIFFERENCES:  # bytes by their weight, largest first
            sums = rows.reshape(len(rows), -1, layout.together).cumsum(axis=1, dtype=np.uint8)
            planes = sums.reshape(len(rows), layout.type.itemsize, -1).transpose(0, 2, 1)
            return np.ascontiguousarray(planes).view(layout.type.newbyteorder(">")).reshape(shape)
        values = rows.view(layout.type).reshape(shape)
        if layout.predictor == _DIFFERENCES:
            unsigned = np.dtype(f"u{layout.type.itemsize}")
            stored = values.astype(layout.type.newbyteorder("=")).view(unsigned)
            return stored.cumsum(axis=1, dtype=unsigned).view(layout.type.newbyteorder("="))
        return values

    def _row_of_blocks(self, number: int) -> list[list[Bytes]]:
        """Return the bytes of the blocks at one height, by plane and from left to right."""
        if self._held[0] != number:
            self._held = (-1, [])
            layout = self.layout
            planes = layout.samples if layout.is_planar else 1
            first = number * layout.across
            blocks = [
                [
                    self._unpacked(plane * layout.across * layout.down + first + column, number)
                    for column in range(layout.across)
                ]
                for plane in range(planes)
            ]
            self._held = (number, blocks)
        return self._held[1]

    def _unpacked(self, index: int, number: int) -> Bytes:
        layout = self.layout
        left = layout.size[1] - number * layout.block[1]
        rows = layout.block[1] if layout.is_tiled else min(left, layout.block[1])
        start, shape = layout.offsets[index], (rows, layout.row_bytes)
        if layout.compression == _UNPACKED:
            if start + rows * layout.row_bytes > len(self._data):
                raise OSError("truncated strip")
            flat = np.frombuffer(self._data, np.uint8, rows * layout.row_bytes, start)
            return flat.reshape(shape)
        packed = self._data[start : start + layout.sizes[index]]
        page = _grey_page(packed, shape, layout.compression, layout.fill_order)
        return np.asarray(TiffImagePlugin.TiffImageFile(io.BytesIO(page)))


def _grey_page(packed: bytes, shape: tuple[int, int], compression: int, fill_order: int) -> bytes:
    """Return a TIFF of one strip that shows unpacked bytes as 8-bit grey."""
    start = 8
    entries = {
        _WIDTH: shape[1],
        _HEIGHT: shape[0],
        BITS: 8,
        _COMPRESSION: compression,
        _PHOTOMETRIC: 1,
        _FILL_ORDER: fill_order,
        _STRIP_OFFSETS: start,
        _SAMPLES: 1,
        ROWS_PER_STRIP: shape[0],
        _STRIP_SIZES: len(packed),
    }
    packed += bytes(len(packed) % 2)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    head = b"II*\0" + struct.pack("<I", start + len(packed))
    return head + packed + struct.pack("<H", len(entries)) + table + bytes(4)
