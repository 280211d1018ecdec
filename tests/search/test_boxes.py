"""From patches to rectangles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mkt_search.search.boxes import boxes_of
from mkt_search.types import Box, ImageSpec

GREY = (0.5, 0.5, 0.5)
SQUASH = ImageSpec(224, 224, GREY, GREY)
CROP = ImageSpec(224, 224, GREY, GREY, resize="crop")


def weights(*cells: tuple[int, int, float], grid: tuple[int, int] = (4, 4)) -> np.ndarray:
    array = np.zeros(grid, np.float32)
    for row, column, weight in cells:
        array[row, column] = weight
    return array.ravel()


def test_touching_patches_share_a_box_and_others_have_their_own() -> None:
    found = boxes_of(weights((0, 0, 0.2), (0, 1, 0.2), (3, 3, 0.6)), (4, 4), SQUASH, 100, 50)
    assert found == (Box(0.75, 0.75, 1, 1), Box(0, 0, 0.5, 0.25))


def test_patches_that_meet_at_a_corner_are_two_groups() -> None:
    assert len(boxes_of(weights((0, 0, 0.5), (1, 1, 0.5)), (4, 4), SQUASH, 10, 10)) == 2


def test_a_cropped_view_leaves_the_borders_of_a_wide_photo_out() -> None:
    (box,) = boxes_of(np.ones(16, np.float32), (4, 4), CROP, 400, 200)
    assert (box.left, box.top, box.right, box.bottom) == (0.25, 0, 0.75, 1)


def test_no_patch_no_box() -> None:
    assert boxes_of(np.zeros(16, np.float32), (4, 4), SQUASH, 10, 10) == ()


@given(arrays.arrays(np.float32, 12, elements=st.sampled_from([0.0, 0.25, 1.0])))
def test_every_patch_that_counts_lies_in_a_box(shares: np.ndarray) -> None:
    found = boxes_of(shares, (3, 4), SQUASH, 640, 480)
    for number in np.flatnonzero(shares):
        row, column = divmod(int(number), 4)
        x, y = (column + 0.5) / 4, (row + 0.5) / 3
        assert any(b.left < x < b.right and b.top < y < b.bottom for b in found)
    assert all(0 <= b.left < b.right <= 1 and 0 <= b.top < b.bottom <= 1 for b in found)
