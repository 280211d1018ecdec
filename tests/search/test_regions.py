"""Where a photo shows a label: boxes and heat maps that you can compute in your head."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search import Library
from mkt_search.errors import PhotoNotFound, QueryError
from mkt_search.search.regions import over_photo
from mkt_search.types import Box, Term
from tests.command_line import mkt
from tests.tiny import paint

WHOLE = Box(0, 0, 1, 1)


def test_the_red_patch_of_a_blue_photo_is_hot_for_red_and_cold_for_blue(library: Path) -> None:
    with Library.open(library) as opened:
        red, blue = opened.regions(library / "photos" / "trip" / "mixed.png", "2*red - blue")
    assert (red.term.label, red.term.weight) == ("red", 2)
    assert (blue.term.label, blue.term.weight) == ("blue", -1)
    assert red.boxes[0] == Box(0.75, 0, 1, 0.25)
    assert red.heat.shape == blue.heat.shape == (4, 4)
    hot = np.zeros((4, 4))
    hot[0, 3] = 1
    np.testing.assert_allclose(red.heat, hot, atol=0.02)
    assert blue.heat[0, 3] == 0  # other patches are 1, or 0 if no local vector has them
    assert blue.heat.max() == 1 and set(blue.heat.ravel()) == {0, 1}


def test_a_panorama_has_a_heat_map_of_its_whole_length(own_library: Path) -> None:
    photo = paint(
        own_library / "photos" / "wide.png", "blue", {(0, 3): "red", (3, 3): "red"}, size=(768, 128)
    )
    mkt("index", own_library / "photos", "--library", own_library)
    with Library.open(own_library) as opened:
        (red,) = opened.regions(photo, [Term(label="red")])
    assert red.heat.shape == (4, 24)
    assert red.heat[[0, 3], 18:].max() == 1
    assert red.heat[1:3].max() < 0.5 and red.heat[:, :18].max() < 0.5


def test_a_photo_without_vectors_and_one_outside_are_said(library: Path) -> None:
    with Library.open(library) as opened:
        with pytest.raises(QueryError, match=r"broken.jpg has no vectors; `mkt status --failed`"):
            opened.regions(library / "photos" / "broken.jpg", "red")
        with pytest.raises(PhotoNotFound):
            opened.regions(10_000, "red")


def test_what_a_crop_cuts_off_is_cold() -> None:
    whole = over_photo(np.ones((1, 2, 2), np.float32), [Box(0.25, 0, 0.75, 1)])
    np.testing.assert_array_equal(whole, [[0, 1, 1, 0], [0, 1, 1, 0]])


def test_where_views_overlap_the_higher_value_counts() -> None:
    heat = np.stack([np.full((1, 2), 0.25), np.full((1, 2), 0.75)]).astype(np.float32)
    whole = over_photo(heat, [Box(0, 0, 0.5, 1), Box(0.25, 0, 0.75, 1)])
    np.testing.assert_array_equal(whole, [[0.25, 0.75, 0.75, 0]])


@given(st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6))
def test_one_view_of_the_whole_photo_is_its_own_map(values: list[float]) -> None:
    heat = np.array(values, np.float32).reshape(1, 2, 3)
    np.testing.assert_array_equal(over_photo(heat, [WHOLE]), heat[0])
