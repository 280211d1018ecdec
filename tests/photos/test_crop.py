"""Which part of a photo a student sees."""

import pytest

from mkt_search.photos.crop import center_crop, visible_box
from mkt_search.types import Box, ImageSpec

MEAN_STD = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((200, 100), Box(0.25, 0.0, 0.75, 1.0)),
        ((100, 400), Box(0.0, 0.375, 1.0, 0.625)),
    ],
)
def test_the_crop_is_the_center(size: tuple[int, int], seen: Box) -> None:
    assert visible_box(*size, ImageSpec(16, 16, *MEAN_STD, "crop")) == seen


def test_a_squashed_photo_is_seen_whole_and_so_is_one_of_the_right_shape() -> None:
    whole = Box(0.0, 0.0, 1.0, 1.0)
    assert visible_box(200, 100, ImageSpec(16, 16, *MEAN_STD)) == whole
    assert visible_box(200, 100, ImageSpec(10, 20, *MEAN_STD, "crop")) == whole


def test_a_crop_after_a_larger_scaling_is_smaller() -> None:
    spec = ImageSpec(224, 224, *MEAN_STD, "crop", shorter_side=256)
    scaled, corner = center_crop(512, 256, spec)
    assert (scaled, corner) == ((512, 256), (144, 16))
    assert visible_box(512, 256, spec) == Box(144 / 512, 16 / 256, 368 / 512, 240 / 256)
