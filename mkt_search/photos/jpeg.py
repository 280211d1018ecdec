"""Read the structure of a JPEG: its passes, and how much of a cut file is there."""

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

MISSING_PERCENT = 5
"""A cut JPEG is shown if no more of its pixels are missing."""

END = b"\xff\xd9"

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # not stuffed bytes, nor restart markers
_START_OF_SCAN, _END_OF_IMAGE, _START_OF_IMAGE, _TEMPORARY = 0xDA, 0xD9, 0xD8, 0x01
_GREY = 128  # the samples of a block that has no data
_LOOKED_AT = 2 * MISSING_PERCENT  # percent of the rows, at the bottom
BLOCK_SIDE = 8
ALL = (0, BLOCK_SIDE**2 - 1)  # the coefficients of a block, all in one scan


@dataclass(frozen=True)
class Scan:
    """A pass over the picture: the ids of its components, and its coefficients from `first` on."""

    components: frozenset[int]
    first: int
    last: int


@dataclass(frozen=True)
class Structure:
    """The scans of a JPEG, and whether its end marker follows them."""

    scans: tuple[Scan, ...]
    ends: bool

    def is_nearly_whole(self, components: int, *, scale: int) -> bool:
        """Return True if what is missing of a cut JPEG can hardly be seen, its rows being there.

        Every component has been begun, and of a progressive one every coefficient before the last
        scan, or no coefficient but the first is needed.

        Args:
            components: of the picture.
            scale: by how much it is decoded smaller; at 8, the first coefficient is a pixel.
        """
        seen = frozenset(one for scan in self.scans for one in scan.components)
        if len(seen) < components:
            return False
        is_progressive = any((scan.first, scan.last) != ALL for scan in self.scans)
        if not is_progressive or scale == BLOCK_SIDE:
            return True
        begun = {
            number
            for scan in self.scans[:-1]
            if min(seen) in scan.components
            for number in range(scan.first, scan.last + 1)
        }
        return len(begun) == BLOCK_SIDE**2


def structure(data: bytes) -> Structure:
    """Walk the markers of a JPEG up to its end marker; stop quietly at an invalid one."""
    scans: list[Scan] = []
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            return Structure(tuple(scans), ends=True)
        if marker in (_START_OF_IMAGE, _TEMPORARY):
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if marker == _START_OF_SCAN and length >= 6:
            scans.append(_scan(data[at + 2 : at + length]))
        at += max(length, 2)
    return Structure(tuple(scans), ends=False)


def _scan(header: bytes) -> Scan:
    count = header[0] if header else 0
    bounds = header[1 + 2 * count : 3 + 2 * count]
    first, last = (bounds[0], bounds[1]) if len(bounds) == 2 else (0, 0)
    return Scan(frozenset(header[1 : 1 + 2 * count : 2]), first, min(last, ALL[1]))


def lacks_rows(image: Image.Image) -> bool:
    """Return True if more than a twentieth of a cut JPEG, decoded, holds no picture.

    A decoder fills what is missing, the lower right part, with middle grey.
    """
    rows = -(-image.height * _LOOKED_AT // 100)
    bottom = np.asarray(image.crop((0, image.height - rows, *image.size)), np.int16)
    off = np.abs(bottom - _GREY).reshape(rows, image.width, -1).max(axis=2)
    return bool((off <= 1).mean() * _LOOKED_AT > MISSING_PERCENT)
