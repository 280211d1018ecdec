"""From patches to rectangles in the photo: where the local part of a score comes from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Box, Vector

Group = list[tuple[int, int]]  # cells (row, column) of a grid


def boxes_of(weights: Vector, grid: tuple[int, int], views: Sequence[Box]) -> tuple[Box, ...]:
    """Return a rectangle around every connected group of patches that counted, heaviest first.

    Args:
        weights: (V P,), the weight of each patch of each view in the local part; 0 if it did not
            count. Weights of more views than there are do not count.
        grid: rows and columns of patches.
        views: where in the photo each view lies, see `photos.crop.views`.
    """
    found = [
        (sum(float(cells[cell]) for cell in group), _box(group, grid, view))
        for cells, view in zip(weights.reshape(-1, *grid), views, strict=False)
        for group in _groups(cells > 0)
    ]
    return tuple(box for _, box in sorted(found, key=lambda item: -item[0]))


def _box(group: Group, grid: tuple[int, int], view: Box) -> Box:
    """Return the rectangle around some cells of the grid that covers a view."""
    rows, columns = grid
    across = (view.right - view.left) / columns
    down = (view.bottom - view.top) / rows
    return Box(
        view.left + across * min(column for _, column in group),
        view.top + down * min(row for row, _ in group),
        view.left + across * (max(column for _, column in group) + 1),
        view.top + down * (max(row for row, _ in group) + 1),
    )


def _groups(marked: NDArray[np.bool_]) -> list[Group]:
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
