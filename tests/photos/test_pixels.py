"""Pixels are loaded within a bound of memory and time, and what is nearly whole is shown."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import MAX_PIXELS, decode
from mkt_search.photos.pixels import MAX_DECODE_BYTES, affordable_factor, load_picture
from tests.odd_photos import jpeg, noise, save
from tests.photos.large_files import large_files, peak, with_scans
from tests.photos.picture_files import SHORT, deep_tiff, levels, scene

# ------------------------------------------------------------------------------- cut JPEG files

PHOTO = Image.fromarray(levels(scene((320, 240))))
WHOLE = save(PHOTO, "JPEG", quality=90)
PROGRESSIVE = save(PHOTO, "JPEG", quality=90, progressive=True)


@pytest.mark.parametrize("whole", [WHOLE, PROGRESSIVE, jpeg(), save(PHOTO.convert("L"), "JPEG")])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_jpeg_without_its_last_bytes_is_shown(whole: bytes, lost: int) -> None:
    shown = np.asarray(decode(whole[:-lost]).image, int)
    assert np.abs(shown - np.asarray(decode(whole).image, int)).mean() < 1
    filled = whole[:-lost] + bytes(4096)
    assert decode(filled).image.size == decode(whole).image.size


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([WHOLE, PROGRESSIVE]), st.integers(700, len(WHOLE)))
def test_a_cut_jpeg_says_so_or_looks_like_the_whole(whole: bytes, kept: int) -> None:
    try:
        shown = np.asarray(decode(whole[:kept]).image, int)
    except PhotoError as error:
        assert "truncated JPEG" in str(error)
    else:
        assert np.abs(shown - np.asarray(decode(whole).image, int)).mean() < 6


def test_a_jpeg_that_lacks_a_tenth_is_refused_though_a_viewer_shows_the_rest() -> None:
    whole = save(noise(400, 300, seed=1), "JPEG")
    with pytest.raises(PhotoError, match="truncated JPEG: the file ends before the picture does"):
        decode(whole[: len(whole) * 9 // 10])


def test_a_film_behind_a_photo_is_ignored() -> None:
    film = b"\0\0\0\x18ftypmp42" + np.random.default_rng(3).bytes(200_000)
    shown = np.asarray(decode(WHOLE + film).image)
    np.testing.assert_array_equal(shown, np.asarray(decode(WHOLE).image))


# -------------------------------------------------------------------------------- what is bounded


def test_passes_times_pixels_of_a_jpeg_are_bounded() -> None:
    data = with_scans((2400, 2400), 980)
    with pytest.raises(PhotoError, match=r"5\.8 million pixels with 98\d passes: a decompression"):
        decode(data, shorter_side=224)
    assert decode(with_scans((240, 240), 500), shorter_side=224).image.size == (240, 240)


@given(
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.integers(0, 2 * MAX_DECODE_BYTES),
    st.sampled_from([None, 1, 224, 512]),
)
def test_a_picture_is_reduced_until_it_fits_and_not_below_the_side_wanted(
    width: int, height: int, held: int, side: int | None
) -> None:
    try:
        factor = affordable_factor((width, height), held, side)
    except PhotoError as error:
        assert re.search(r"takes \d\.\d GB of memory, more than the 1 GB", str(error))
        assert held > MAX_DECODE_BYTES * 9 // 10
        return
    assert held + 4 * width * height / factor**2 < MAX_DECODE_BYTES
    small = affordable_factor((width // 10 + 1, height // 10 + 1), 0, side)
    assert small == 1 or min(width // 10 + 1, height // 10 + 1) / small >= (side or 0)


@pytest.mark.slow
def test_reducing_in_bands_is_reducing_the_whole() -> None:
    image = Image.fromarray(levels(scene((1500, 1100))))
    for made in (image, image.convert("L"), image.convert("CMYK")):
        data = save(made, "TIFF")
        shown = decode(data, shorter_side=100).image
        expected = made.reduce(5).convert("RGB")
        difference = np.abs(np.asarray(shown, int) - np.asarray(expected, int))
        assert shown.size == expected.size and difference.max() <= 1
    deep = deep_tiff(levels(scene((1500, 1100)), "u2"), 2, packed=True)
    shown = decode(deep, shorter_side=100).image
    assert np.abs(np.asarray(shown, int) - np.asarray(image.reduce(5), int)).max() <= 1


def test_a_picture_keeps_its_full_size_and_orientation() -> None:
    data = deep_tiff(levels(scene((1500, 1100)), "u2"), 2, fields={274: (SHORT, [6])})
    picture = load_picture(data, "TIFF", shorter_side=100, max_pixels=MAX_PIXELS)
    assert (picture.size, picture.image.size, picture.turn) == ((1500, 1100), (300, 220), 6)


def test_grey_of_12_bits_is_not_black() -> None:
    values = (levels(scene()[..., 0], "u2") >> 4).reshape(-1, 2)
    first, second = values[:, 0], values[:, 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    rows = packed.astype(np.uint8).reshape(64, 144, 1)
    fields = {256: (SHORT, [96]), 258: (SHORT, [12])}
    shown = np.asarray(decode(deep_tiff(rows, 1, fields=fields, rows_per_strip=64)).image, int)  # type: ignore[arg-type]
    assert np.abs(shown[..., 0] - levels(scene()[..., 0])).max() <= 1


# -------------------------------------------------------------------------------------- memory


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory of Linux")
@pytest.mark.parametrize("name", ["RGB.png", "float RGB.tif"])
def test_a_small_file_of_a_huge_picture_takes_at_most_a_gigabyte(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(large_files()[name]())
    said, memory = peak(path, 224)
    assert path.stat().st_size < 4_000_000
    assert said == "(90, 90, 90)"
    assert memory < MAX_DECODE_BYTES


@pytest.mark.soak
@pytest.mark.parametrize("side", [224, 0])
@pytest.mark.parametrize("name", list(large_files()))
def test_a_picture_of_any_kind_takes_at_most_a_gigabyte(
    name: str, side: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(large_files()[name]())
    said, memory = peak(path, side)
    print(f"{name}, side {side}: {path.stat().st_size / 1e6:.1f} MB, {memory / 1e6:.0f} MB: {said}")
    assert memory < MAX_DECODE_BYTES
    assert re.match(r"\(\d+, \d+, \d+\)$|.*(GB of memory|passes)", said), said
