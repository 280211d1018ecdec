"""From patches to rectangles."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mkt_search.photos.crop import views
from mkt_search.search.boxes import boxes_of
from mkt_search.types import Box, ImageSpec

GREY = (0.5, 0.5, 0.5)
SQUASH = ImageSpec(224, 224, GREY, GREY)
WHOLE = [Box(0.0, 0.0, 1.0, 1.0)]


def weights(*cells: tuple[int, int, float], grid: tuple[int, int] = (4, 4)) -> np.ndarray:
    array = np.zeros(grid, np.float32)
    for row, column, weight in cells:
        array[row, column] = weight
    return array.ravel()


def test_touching_patches_share_a_box_and_others_have_their_own() -> None:
    found = boxes_of(weights((0, 0, 0.2), (0, 1, 0.2), (3, 3, 0.6)), (4, 4), WHOLE)
    assert found == (Box(0.75, 0.75, 1, 1), Box(0, 0, 0.5, 0.25))


def test_patches_that_meet_at_a_corner_are_two_groups() -> None:
    assert len(boxes_of(weights((0, 0, 0.5), (1, 1, 0.5)), (4, 4), WHOLE)) == 2


def test_boxes_lie_in_the_part_of_the_photo_that_the_view_shows() -> None:
    middle = Box(0.25, 0.0, 0.75, 1.0)
    assert boxes_of(np.ones(16, np.float32), (4, 4), [middle]) == (middle,)


def test_patches_of_two_views_have_boxes_of_their_own() -> None:
    left, right = Box(0.0, 0.0, 0.75, 1.0), Box(0.25, 0.0, 1.0, 1.0)
    both = np.concatenate([weights((0, 0, 0.4)), weights((3, 3, 0.6))])
    assert boxes_of(both, (4, 4), [left, right]) == (
        Box(0.8125, 0.75, 1.0, 1.0),
        Box(0.0, 0.0, 0.1875, 0.25),
    )


def test_patches_of_views_that_the_photo_does_not_have_do_not_count() -> None:
    both = np.concatenate([weights((0, 0, 0.5)), weights((3, 3, 0.5))])
    assert boxes_of(both, (4, 4), WHOLE) == (Box(0, 0, 0.25, 0.25),)


def test_no_patch_no_box() -> None:
    assert boxes_of(np.zeros(16, np.float32), (4, 4), WHOLE) == ()


@given(arrays.arrays(np.float32, 12, elements=st.sampled_from([0.0, 0.25, 1.0])))
def test_every_patch_that_counts_lies_in_a_box(shares: np.ndarray) -> None:
    found = boxes_of(shares, (3, 4), WHOLE)
    for number in np.flatnonzero(shares):
        row, column = divmod(int(number), 4)
        x, y = (column + 0.5) / 4, (row + 0.5) / 3
        assert any(b.left < x < b.right and b.top < y < b.bottom for b in found)
    assert all(0 <= b.left < b.right <= 1 and 0 <= b.top < b.bottom <= 1 for b in found)


@given(st.integers(1, 3_000), st.integers(1, 3_000), st.integers(0, 8 * 16 - 1))
def test_a_patch_of_any_view_maps_back_to_its_place_in_the_photo(
    width: int, height: int, number: int
) -> None:
    seen = views(width, height, SQUASH)
    view, patch = divmod(number % (16 * len(seen)), 16)
    marked = np.zeros(16 * len(seen), np.float32)
    marked[16 * view + patch] = 1
    (box,) = boxes_of(marked, (4, 4), seen)
    row, column = divmod(patch, 4)
    x, y = (column + 0.5) / 4, (row + 0.5) / 4  # the center of the patch, in the view
    part = seen[view]
    assert box.left < part.left + x * (part.right - part.left) < box.right
    assert box.top < part.top + y * (part.bottom - part.top) < box.bottom
    assert part.left <= box.left and box.right <= part.right + 1e-9
    assert part.top <= box.top and box.bottom <= part.bottom + 1e-9
