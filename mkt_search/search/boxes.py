"""From patches to rectangles in the photo: where the local part of a score comes from."""

import numpy as np
from numpy.typing import NDArray

from mkt_search.photos.crop import visible_box
from mkt_search.types import Box, ImageSpec


def boxes_of(
    weights: NDArray[np.float32], grid: tuple[int, int], spec: ImageSpec, width: int, height: int
) -> tuple[Box, ...]:
    """Return a rectangle around every connected group of patches that counted, heaviest first.

    Args:
        weights: (P,), the weight of each patch in the local part; 0 if it did not count.
        grid: rows and columns of patches.
        spec: how the student sees a photo; a crop does not see its borders.
        width: width of the upright photo in pixels.
        height: height of the upright photo in pixels.
    """
    rows, columns = grid
    window = visible_box(width, height, spec)
    across = (window.right - window.left) / columns
    down = (window.bottom - window.top) / rows
    groups = sorted(_groups(weights.reshape(grid) > 0), key=lambda g: -_weight(weights, g, columns))
    return tuple(
        Box(
            window.left + across * min(c for _, c in group),
            window.top + down * min(r for r, _ in group),
            window.left + across * (max(c for _, c in group) + 1),
            window.top + down * (max(r for r, _ in group) + 1),
        )
        for group in groups
    )


def _weight(weights: NDArray[np.float32], group: list[tuple[int, int]], columns: int) -> float:
    return float(sum(weights[row * columns + column] for row, column in group))


def _groups(marked: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """Split marked cells into groups that touch by an edge."""
    left = {(int(row), int(column)) for row, column in np.argwhere(marked)}
    groups = []
    while left:
        group, open_ = [], [min(left)]
        left.discard(open_[0])
        while open_:
            row, column = open_.pop()
            group.append((row, column))
            for near in (
                (row + 1, column),
                (row - 1, column),
                (row, column + 1),
                (row, column - 1),
            ):
                if near in left:
                    left.discard(near)
                    open_.append(near)
        groups.append(group)
    return groups
