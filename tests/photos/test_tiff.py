"""TIFF layouts that Pillow lacks or shows wrongly."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import decode
from mkt_search.photos.tiff import Layout, Samples, directory, is_deep
from tests.odd_photos import save
from tests.photos.picture_files import SHORT, UNDEFINED, deep_tiff, levels, scene, swapped_profile

layouts = st.fixed_dictionaries(
    {
        "order": st.sampled_from("<>"),
        "packed": st.just(True),
        "planar": st.booleans(),
        "rows_per_strip": st.sampled_from([1, 20, 64]),
        "tile": st.sampled_from([0, 0, 16, 48]),
    }
)


@settings(max_examples=25, deadline=None)
@given(layouts, st.sampled_from(["u2", "u4", "f2", "f4", "f8"]), st.sampled_from([1, 2, 3]))
def test_every_way_to_store_pixels_gives_the_same_picture(
    layout: dict[str, Any], type: str, predictor: int
) -> None:
    if predictor == 3 and np.dtype(type).kind != "f":
        predictor = 2
    values = levels(scene(), type)
    reader = Samples(deep_tiff(values, 2, predictor=predictor, **layout))
    first = Samples(deep_tiff(values, 2)).rows(0, 64)
    np.testing.assert_array_equal(reader.rows(0, 64), first)
    np.testing.assert_array_equal(reader.rows(13, 41), first[13:41])


def test_the_differences_of_samples_are_those_of_libtiff() -> None:
    """As Pillow writes them."""
    gray = Image.fromarray(levels(scene()[..., 0], "f4"))
    for predictor in (2, 3):
        info = TiffImagePlugin.ImageFileDirectory_v2()
        info[317] = predictor
        data = save(gray, "TIFF", compression="tiff_lzw", tiffinfo=info)
        shown = Samples(data).rows(0, 64)[..., 0]
        np.testing.assert_array_equal(shown, (np.asarray(gray) * 255).astype(np.uint8))


@pytest.mark.parametrize("type", ["u1", "u2", "f4"])
def test_white_is_zero_at_every_depth(type: str) -> None:
    values = levels(scene()[..., :1], type)
    shown = np.asarray(decode(deep_tiff(values, 0)).image, int)[..., 0]
    other = np.asarray(decode(deep_tiff(values, 1)).image, int)[..., 0]
    assert np.abs(shown - (255 - other)).max() <= 1


def test_lab_of_16_bits_is_shown_as_lab_of_8() -> None:
    lab = np.full((8, 8, 3), (135, 208 - 128, 195 - 128), np.int16)
    deep = (lab << 8).astype(np.uint16)
    red, green, blue = np.asarray(decode(deep_tiff(deep, 8)).image)[3, 3]
    assert red > 200 and green < 60 and blue < 60
    offset = np.full((8, 8, 3), (135, 208, 195), np.uint16) << 8
    np.testing.assert_array_equal(
        decode(deep_tiff(offset, 9)).image, decode(deep_tiff(deep, 8)).image
    )


def test_alpha_behind_deep_colours_is_shown_as_that_of_8_bits() -> None:
    ramp = np.linspace(0, 1, 96 * 64).reshape(64, 96, 1)
    both = np.concatenate([scene(), ramp], axis=2)
    expected = np.asarray(decode(save(Image.fromarray(levels(both)), "PNG")).image, int)
    for type in ("u2", "f4"):
        shown = np.asarray(decode(deep_tiff(levels(both, type), 2, extra=(2,))).image, int)
        assert np.abs(shown - expected).max() <= 2
    multiplied = np.concatenate([scene() * ramp, ramp], axis=2)
    shown = np.asarray(decode(deep_tiff(levels(multiplied, "u2"), 2, extra=(1,))).image, int)
    assert np.abs(shown - expected).max() <= 3


def test_a_spot_colour_behind_the_inks_is_left_out() -> None:
    ink = levels(np.concatenate([scene(), scene()[..., :1] / 3], axis=2))
    five = np.concatenate([ink, ink[..., 1:2]], axis=2)
    expected = decode(deep_tiff(ink, 5)).image
    for extra in ((), (0,), (2,)):
        for planar in (False, True):
            shown = decode(deep_tiff(five, 5, extra=extra, planar=planar, packed=True)).image
            np.testing.assert_array_equal(shown, expected)


def test_floats_that_are_mostly_within_one_are_clipped_and_others_fill_their_range() -> None:
    bright = levels(scene(), "f4")
    expected = decode(deep_tiff(bright, 2)).image
    lamp = bright.copy()
    lamp[:2, :2] = 500
    shown = np.asarray(decode(deep_tiff(lamp, 2)).image)
    np.testing.assert_array_equal(shown[4:], np.asarray(expected)[4:])
    heights = 100 + 900 * scene()[..., :1]
    values = np.asarray(decode(deep_tiff(heights.astype("f4"), 1)).image)
    assert (values.min(), values.max()) == (0, 255)


def test_the_profile_and_the_orientation_of_deep_pixels_are_honoured() -> None:
    values = levels(scene(), "u2")
    profile = swapped_profile()
    fields: Any = {34675: (UNDEFINED, profile), 274: (SHORT, [6])}
    decoded = decode(deep_tiff(values, 2, fields=fields))
    assert decoded.image.size == (64, 96) == (decoded.facts.width, decoded.facts.height)
    red, green, _ = np.asarray(decoded.image)[5, 60].astype(int)
    first = values[3, 5].astype(int)
    assert (green > red) == (first[0] > first[1])


def test_a_layout_that_is_not_read_is_named_and_no_damage() -> None:
    data = deep_tiff(levels(scene(), "u2"), 6)
    with pytest.raises(PhotoError, match=r"3 samples of 16 bits .photometric 6.* is not read"):
        decode(data)


def test_a_cut_file_is_truncated() -> None:
    data = deep_tiff(levels(scene(), "u2"), 2)
    strip = Layout.of(data).offsets[-1]
    moved = data.replace(strip.to_bytes(4, "little"), len(data).to_bytes(4, "little"))
    with pytest.raises(PhotoError, match="truncated TIFF"):
        decode(moved)


def test_only_16_bits_or_more_are_deep() -> None:
    assert is_deep(directory(deep_tiff(levels(scene(), "u2"), 2)))
    assert not is_deep(directory(deep_tiff(levels(scene()), 2)))
    assert Image.open(io.BytesIO(deep_tiff(levels(scene()), 2))).mode == "RGB"
