"""Miniatures: a few hundred bytes a photo that tell whether new bytes are the same picture, edited.

A miniature is a small gray image. Two are compared by the directions of their gradients, which a
change of exposure, contrast or colour hardly touches, wherever one may have been cut out of the
other, in all four orientations. `benchmarks/miniatures.py` measures how well that tells edits from
other photos.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

LONGER_SIDE = 32  # pixels
SHORTEST_SIDE = 8  # pixels; a longer strip is squeezed
SMALLEST_CUT = 0.55  # of a side: a crop that keeps less is another picture
CUT_SIZES = 10
PLACES = 4  # of the best places of a cut, how many are fitted exactly
FIRST_STEP = np.array([0.5, 0.5, 0.04, 0.02, 0.02])  # of a `Fit`
FARTHEST = np.array([4, 4, 0.12, 0.03, 0.07])  # from where the fit begins
HALVINGS = 4
BLOCKS = 5  # a side, that are compared one by one
LEAST_GRADIENT = 2.0  # gray levels a pixel: what is below is partly noise
LEAST_BLOCKS = 6  # with so much detail: fewer prove nothing
SAME_FROM = 0.85

Grid = NDArray[np.float32]
Fit = NDArray[np.float64]
"""Center (y, x) in pixels, size, proportions and angle in radians of a cut."""


class _Place(NamedTuple):
    """Where a part may have been cut out of a whole, in pixels of the whole."""

    agreement: float
    whole: Grid
    part: Grid
    top: int
    left: int
    height: int
    width: int


def miniature(image: Image.Image) -> bytes:
    """Return the miniature of an upright RGB image: a byte each for the sides, then pixels."""
    scale = LONGER_SIDE / max(image.size)
    width, height = (max(SHORTEST_SIDE, round(side * scale)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0).convert("L")
    return bytes((width, height)) + small.tobytes()


def is_same_picture(one: bytes, other: bytes) -> bool:
    """Return True if two miniatures show one picture, perhaps cropped, turned or toned."""
    return similarity(one, other) >= SAME_FROM


def similarity(one: bytes, other: bytes) -> float:
    """Return how well two miniatures agree where they agree best: at most 1, near 0 by chance."""
    a, b = _grid(one), _grid(other)
    places: list[_Place] = []
    for turns in range(4):
        turned = np.ascontiguousarray(np.rot90(b, turns))
        places += [*_places(a, turned), *_places(turned, a)]
    best = sorted(places, key=lambda place: -place.agreement)[:PLACES]
    return max(map(_fitted, best))


def _grid(miniature: bytes) -> Grid:
    """Return the pixels (height, width). Raises ValueError for what is no miniature."""
    width, height = miniature[:2]
    pixels = np.frombuffer(miniature, np.uint8, offset=2)
    return pixels.reshape(height, width).astype(np.float32)


def _places(whole: Grid, part: Grid) -> Iterator[_Place]:
    """Yield the best place of a part in a whole for each size that it may have there."""
    gradients = _gradients(whole)  # (2, H, W)
    squares = np.square(gradients)
    for height, width in _sizes_of_cuts(whole.shape, part.shape):
        wanted = _gradients(_resized(part, height, width))  # (2, height, width)
        windows = sliding_window_view(gradients, (height, width), axis=(1, 2))
        products = np.einsum("cyxhw,chw->yx", windows, wanted)
        within = sliding_window_view(squares, (height, width), axis=(1, 2))
        lengths = np.sqrt(np.einsum("cyxhw->yx", within))
        least = LEAST_GRADIENT * np.sqrt(height * width)
        cosines = products / np.maximum(lengths, least) / max(float(np.linalg.norm(wanted)), least)
        top, left = divmod(int(cosines.argmax()), cosines.shape[1])
        yield _Place(float(cosines.max()), whole, part, top, left, height, width)


def _sizes_of_cuts(whole: tuple[int, ...], part: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield the sizes (height, width) of cuts that have the proportions of a picture."""
    fit = min(whole[0] / part[0], whole[1] / part[1])
    sizes = {
        (max(BLOCKS, round(part[0] * fit * scale)), max(BLOCKS, round(part[1] * fit * scale)))
        for scale in np.linspace(SMALLEST_CUT, 1, CUT_SIZES)
    }
    yield from sorted((min(h, whole[0]), min(w, whole[1])) for h, w in sizes)


def _fitted(place: _Place) -> float:
    """Return the agreement after the place was moved, scaled and turned a little to fit."""
    shape = (place.height, place.width)
    wanted = _gradients(_resized(place.part, *shape))
    begin = np.array([place.top + place.height / 2, place.left + place.width / 2, 1, 1, 0])
    fit, found = begin, _gradients(_cut(place.whole, begin, shape))
    best = _cosine(found, wanted)
    for step in (FIRST_STEP / 2**halving for halving in range(HALVINGS)):
        for change in (*np.diag(step), *np.diag(-step)):
            while np.all(np.abs(fit + change - begin) <= FARTHEST):
                gradients = _gradients(_cut(place.whole, fit + change, shape))
                if (cosine := _cosine(gradients, wanted)) <= best:
                    break
                best, fit, found = cosine, fit + change, gradients
    return _agreement(found, wanted)


def _cut(whole: Grid, fit: Fit, shape: tuple[int, int]) -> Grid:
    """Return the pixels (height, width) that a fit cuts out of a picture."""
    height, width = shape
    y, x, size, proportions, angle = fit
    right = size / proportions * np.array([np.cos(angle), np.sin(angle)])  # (x, y) for a pixel
    down = size * proportions * np.array([-np.sin(angle), np.cos(angle)])
    corner = np.array([x, y]) - right * width / 2 - down * height / 2 + 1
    matrix = (right[0], down[0], corner[0], right[1], down[1], corner[1])
    padded = Image.fromarray(np.pad(whole, 1, mode="edge"))
    cut = padded.transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(cut)


def _agreement(one: Grid, other: Grid) -> float:
    """Return the mean cosine of the blocks of two gradients (2, height, width).

    Strong edges alone agree in many pictures: a horizon, a frame. So every block with detail counts
    the same, and one without hardly counts.
    """
    total = weights = 0.0
    for rows in np.array_split(np.arange(one.shape[1]), BLOCKS):
        for columns in np.array_split(np.arange(one.shape[2]), BLOCKS):
            block = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            a, b = one[block], other[block]
            strength = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
            weight = min(1.0, strength / (LEAST_GRADIENT * np.sqrt(a[0].size)))
            total += weight * _cosine(a, b)
            weights += weight
    return total / max(weights, LEAST_BLOCKS)


def _cosine(one: Grid, other: Grid) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.vdot(one, other)) / max(lengths, 1e-6)


def _resized(grid: Grid, height: int, width: int) -> Grid:
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BOX))


def _gradients(grid: Grid) -> Grid:
    """Return the differences to the neighbors (2, height, width), down and to the right."""
    down, right = np.gradient(grid)
    return np.stack([down, right]).astype(np.float32)
