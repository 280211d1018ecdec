"""Which parts of a photo a student sees."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.photos.crop import MAX_VIEWS, MIN_OVERLAP, center_crop, views, visible_box
from mkt_search.types import Box, ImageSpec, Resize

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


SQUARE = ImageSpec(32, 32, *MEAN_STD)


@pytest.mark.parametrize("size", [(300, 200), (200, 100), (90, 180), (1, 1)])
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_photo_up_to_twice_as_long_as_wide_is_seen_in_one_view(
    size: tuple[int, int], resize: Resize
) -> None:
    spec = ImageSpec(32, 32, *MEAN_STD, resize)
    assert views(*size, spec) == (visible_box(*size, spec),)


def test_a_panorama_is_seen_in_squares_that_overlap() -> None:
    assert views(400, 100, SQUARE) == tuple(
        Box(left, 0.0, left + 0.25, 1.0) for left in (0.0, 0.1875, 0.375, 0.5625, 0.75)
    )
    assert views(100, 250, SQUARE) == tuple(
        Box(0.0, top, 1.0, top + 0.4) for top in (0.0, 0.3, 0.6)
    )


def test_views_have_the_shape_of_the_students_input_and_a_wide_one_may_need_only_one() -> None:
    low = ImageSpec(20, 40, *MEAN_STD)
    assert views(400, 100, low) == tuple(Box(left, 0.0, left + 0.5, 1.0) for left in (0, 0.25, 0.5))
    assert len(views(100, 400, low)) == MAX_VIEWS
    assert views(300, 100, ImageSpec(10, 40, *MEAN_STD)) == (Box(0.0, 0.0, 1.0, 1.0),)


sides = st.integers(1, 60_000)
specs = st.builds(
    ImageSpec,
    st.integers(8, 512),
    st.integers(8, 512),
    st.just(MEAN_STD[0]),
    st.just(MEAN_STD[1]),
    st.sampled_from(("squash", "crop")),
)


@given(sides, sides, specs)
def test_the_views_of_a_panorama_cover_it_with_overlap_and_lie_inside_it(
    width: int, height: int, spec: ImageSpec
) -> None:
    seen = views(width, height, spec)
    assert 1 <= len(seen) <= MAX_VIEWS
    assert all(0 <= b.left < b.right <= 1 and 0 <= b.top < b.bottom <= 1 for b in seen)
    if len(seen) == 1:
        assert seen == (visible_box(width, height, spec),)
        return
    is_wide = width > height
    assert max(width, height) > 2 * min(width, height)
    spans = [(b.left, b.right) if is_wide else (b.top, b.bottom) for b in seen]
    across = {(b.top, b.bottom) if is_wide else (b.left, b.right) for b in seen}
    assert across == {(0.0, 1.0)}
    assert spans[0][0] == 0 and spans[-1][1] == pytest.approx(1)
    length = spans[0][1]
    for (start, end), (following, _) in pairwise(spans):
        assert end - start == pytest.approx(length)
        assert end - following >= MIN_OVERLAP * length - 1e-9
    shape = length * width / height if is_wide else width / (length * height)
    stretch = shape / (spec.width / spec.height) if is_wide else spec.width / spec.height / shape
    assert stretch == pytest.approx(1) or (stretch > 1 and len(seen) == MAX_VIEWS)
