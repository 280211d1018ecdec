"""Files become upright RGB pixels, or a short reason why not."""

import io
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from mkt_search.errors import PhotoError
from mkt_search.photos.crop import views, visible_box
from mkt_search.photos.decode import (
    Decoded,
    decode,
    mean_colour,
    read,
    thumbnail,
    to_pixels,
    to_views,
    webp_thumbnail,
)
from mkt_search.types import Box, ImageSpec, PhotoFacts, Resize
from tests.odd_photos import (
    OddPhoto,
    assert_upright,
    deep_values,
    jpeg,
    noise,
    picture,
    pixel,
    save,
    turned_jpeg,
    ycck_jpeg,
)

MEAN_STD = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def spec(height: int = 224, width: int = 224, resize: Resize = "squash") -> ImageSpec:
    return ImageSpec(height, width, *MEAN_STD, resize)


# ------------------------------------------------------------------------------- the odd folder


def test_every_odd_file_gives_a_picture_or_a_reason(odd_photos: list[OddPhoto]) -> None:
    assert len(odd_photos) >= 100
    for odd in odd_photos:
        try:
            decoded = decode(read(odd.path), name=odd.path.name, shorter_side=224)
        except PhotoError as error:
            assert not odd.is_photo, f"{odd.path.name!r} ({odd.why}) was refused: {error}"
            assert_readable(str(error), odd.path)
        else:
            assert odd.is_photo, f"{odd.path.name!r} ({odd.why}) was taken for a photo"
            assert decoded.image.mode == "RGB"
            assert min(decoded.image.size) >= 1


def assert_readable(reason: str, path: Path) -> None:
    assert reason.isprintable()
    assert 8 < len(reason) < 160
    assert path.name not in reason
    assert not re.search(r"<|0x|Error\b|b'", reason), reason


def test_odd_photos_have_bytes_of_their_own(odd_photos: list[OddPhoto]) -> None:
    photos = [odd.path for odd in odd_photos if odd.is_photo and not odd.path.is_symlink()]
    assert len({read(path) for path in photos}) == len(photos)


@pytest.mark.slow
def test_many_threads_decode_the_odd_folder_as_one_does(odd_photos: list[OddPhoto]) -> None:
    def outcome(odd: OddPhoto) -> bytes | str:
        try:
            return decode(read(odd.path), name=odd.path.name, shorter_side=224).image.tobytes()
        except PhotoError as error:
            return str(error)

    alone = [outcome(odd) for odd in odd_photos]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, odd_photos)) == alone


# ------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero bytes.jpg", "empty file"),
        ("dangling.jpg", "dangling link"),
        ("loop.jpg", "link to itself"),
        ("folder.jpg", "not a regular file"),
        ("pipe.jpg", "not a regular file"),
        ("large.jpg", "3.0 GiB"),
        ("never was.jpg", "gone"),
    ],
)
def test_reading_says_why_a_file_cannot_be_read(
    odd_photos: list[OddPhoto], name: str, reason: str
) -> None:
    with pytest.raises(PhotoError, match=reason):
        read(odd_photos[0].path.parent / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(odd_photos: list[OddPhoto]) -> None:
    with pytest.raises(PhotoError, match="permission denied"):
        read(odd_photos[0].path.parent / "closed.jpg")


# ------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("shorter_side", [None, 20])
def test_every_exif_orientation_comes_out_upright(number: int, shorter_side: int | None) -> None:
    decoded = decode(turned_jpeg(number), shorter_side=shorter_side)
    assert_upright(decoded.image)
    assert (decoded.facts.width, decoded.facts.height) == picture().size
    assert decoded.facts.orientation == number


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("number", [3, 6])
def test_other_formats_are_turned_by_exif_too(format: str, number: int) -> None:
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[number]
    exif = Image.Exif()
    exif[0x0112] = number
    decoded = decode(save(picture().transpose(turned), format, exif=exif, quality=95))
    assert_upright(decoded.image, tolerance=40)
    assert (decoded.facts.width, decoded.facts.height) == picture().size
    assert decoded.facts.orientation == number


def test_heic_is_turned_once_not_twice() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = picture().transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    pillow_heif.from_pillow(stored).save(buffer, quality=90, exif=exif.tobytes())
    decoded = decode(buffer.getvalue())
    assert decoded.facts.format == "HEIF"
    assert decoded.image.size == (decoded.facts.width, decoded.facts.height) == picture().size
    assert_upright(decoded.image, tolerance=40)


def test_a_large_jpeg_is_decoded_reduced_but_its_facts_are_not() -> None:
    data = save(picture((1600, 1200)), "JPEG")
    decoded = decode(data, shorter_side=224)
    assert decoded.image.size == (400, 300)
    assert (decoded.facts.width, decoded.facts.height) == (1600, 1200)
    assert_upright(decoded.image)


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P"])
def test_colour_modes_become_rgb(mode: str) -> None:
    format = "JPEG" if mode in ("CMYK", "L") else "PNG"
    decoded = decode(save(picture().convert(mode), format, quality=95)).image
    expected = picture().convert(mode).convert("RGB")
    difference = np.abs(np.asarray(decoded, int) - np.asarray(expected, int))
    assert difference.mean() < 3


def test_inverted_cmyk_and_ycck_keep_their_colours() -> None:
    assert_upright(decode(save(picture().convert("CMYK"), "JPEG", quality=95)).image)
    assert_upright(decode(ycck_jpeg()).image)


def test_transparency_of_every_kind_becomes_white() -> None:
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    assert pixel(decode(save(clear, "PNG")).image, 3, 3) == (255, 255, 255)
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert pixel(decode(save(half, "PNG")).image, 3, 3) == (127, 127, 127)
    palette = picture().quantize(8)
    index = int(np.asarray(palette)[0, 0])
    decoded = decode(save(palette, "PNG", transparency=index)).image
    assert pixel(decoded, 0, 0) == (255, 255, 255)
    assert pixel(decoded, 90, 60) != (255, 255, 255)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(format: str) -> None:
    decoded = decode(save(Image.fromarray(deep_values()), format)).image
    np.testing.assert_array_equal(np.asarray(decoded)[..., 0], deep_values() >> 8)


def test_floats_from_zero_to_one_keep_their_range() -> None:
    gray = np.full((4, 4), 0.5, np.float32)
    assert pixel(decode(save(Image.fromarray(gray), "TIFF")).image, 0, 0) == (127, 127, 127)


def test_floats_beyond_one_fill_their_range_and_nan_is_black() -> None:
    values = np.array([[-100, 900], [1900, np.nan]], np.float32)
    decoded = decode(save(Image.fromarray(values), "TIFF")).image
    assert np.asarray(decoded)[..., 0].tolist() == [[0, 127], [255, 0]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_of_several_frames_is_used(format: str) -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    decoded = decode(save(first, format, save_all=True, append_images=[second]))
    red, _, blue = pixel(decoded.image, 20, 15)
    assert red > 240 and blue < 20


def test_the_pixel_limit_is_an_argument_not_pillows_global(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = jpeg()
    with pytest.raises(PhotoError, match="96 x 64 pixels exceed"):
        decode(data, max_pixels=96 * 64 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(data, max_pixels=96 * 64).image.size == (96, 64)


# -------------------------------------------------------------------------------------- pixels


def by_pillow(image: Image.Image, to: ImageSpec) -> np.ndarray[Any, Any]:
    """Resize slowly: scale the whole photo, then crop the center."""
    if to.resize == "squash":
        return np.asarray(image.resize((to.width, to.height), Image.Resampling.BICUBIC), int)
    scale = max(to.width / image.width, to.height / image.height)
    size = round(image.width * scale), round(image.height * scale)
    left, top = (size[0] - to.width) // 2, (size[1] - to.height) // 2
    whole = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(whole.crop((left, top, left + to.width, top + to.height)), int)


@pytest.mark.parametrize("resize", ["squash", "crop"])
@pytest.mark.parametrize("size", [(192, 128), (128, 192), (640, 480), (1500, 1000)])
def test_pixels_are_those_of_a_plain_resize(resize: Resize, size: tuple[int, int]) -> None:
    rough = noise(12, 9, seed=3).resize(size, Image.Resampling.BICUBIC)
    pixels = to_pixels(rough, spec(resize=resize))
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    # by_pillow rounds the scaled size and the crop to whole pixels: up to one pixel of shift
    assert np.abs(pixels - by_pillow(rough, spec(resize=resize))).mean() < 2.5


def test_an_image_of_the_right_size_is_unchanged() -> None:
    image = noise(20, 10, seed=4)
    np.testing.assert_array_equal(to_pixels(image, spec(10, 20)), np.asarray(image))


CENTER = ImageSpec(224, 224, *MEAN_STD, "crop", shorter_side=256)


@pytest.mark.parametrize(
    "size", [(256, 256), (500, 375), (375, 500), (351, 486), (33, 21), (256, 259), (900, 57)]
)
def test_a_shorter_side_gives_the_pixels_of_torchvision(size: tuple[int, int]) -> None:
    image = noise(*size, seed=6)
    bicubic = transforms.InterpolationMode.BICUBIC
    both = transforms.Compose([transforms.Resize(256, bicubic), transforms.CenterCrop(224)])
    np.testing.assert_array_equal(to_pixels(image, CENTER), np.asarray(both(image)))


def test_the_visible_box_of_a_scaled_photo_is_its_crop() -> None:
    assert visible_box(256, 512, CENTER) == Box(16 / 256, 144 / 512, 240 / 256, 368 / 512)
    assert visible_box(1024, 512, CENTER) == Box(144 / 512, 16 / 256, 368 / 512, 240 / 256)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 90), st.sampled_from([1, 7, 15, 17, 400]))
def test_a_strip_of_any_length_fills_the_crop(width: int, times: int) -> None:
    strip = Image.new("RGB", (width, width * times), (9, 99, 199))
    pixels = to_pixels(strip, CENTER)
    assert pixels.shape == (224, 224, 3)
    assert np.abs(pixels.astype(int) - (9, 99, 199)).max() <= 2
    box = visible_box(*strip.size, CENTER)
    assert 0 <= box.left < box.right <= 1
    assert 0 <= box.top < box.bottom <= 1


def test_most_photos_are_seen_in_one_view() -> None:
    image = noise(60, 40, seed=7)
    photo = Decoded(image, PhotoFacts(60, 40, "PNG"))
    np.testing.assert_array_equal(to_views(photo, CENTER), to_pixels(image, CENTER)[None])


@settings(max_examples=20, deadline=None)
@given(
    st.integers(100, 400),
    st.floats(2.1, 20),
    st.booleans(),
    st.sampled_from([spec(32, 32), spec(32, 48), spec(32, 32, "crop"), CENTER]),
)
def test_each_view_of_a_panorama_shows_its_part_of_the_photo(
    shorter: int, aspect: float, is_wide: bool, to: ImageSpec
) -> None:
    longer = round(aspect * shorter)
    ramp = np.linspace(0, 255, longer)[None].repeat(shorter, axis=0)
    image = Image.fromarray(np.rint(ramp if is_wide else ramp.T).astype(np.uint8)).convert("RGB")
    full = PhotoFacts(2 * image.width, 2 * image.height, "JPEG")  # it was reduced when decoded
    seen = to_views(Decoded(image, full), to)
    boxes = views(full.width, full.height, to)
    assert len(boxes) > 1 and seen.shape == (len(boxes), to.height, to.width, 3)
    for view, box in zip(seen.astype(float), boxes, strict=True):
        start, end = (box.left, box.right) if is_wide else (box.top, box.bottom)
        levels = view.mean(axis=(0 if is_wide else 1, 2))
        centers = start + (np.arange(len(levels)) + 0.5) / len(levels) * (end - start)
        assert np.abs(levels - 255 * centers).max() < 4


def test_a_spec_with_a_shorter_side_decodes_whole_photos() -> None:
    assert (spec(10, 20).decode_side, CENTER.decode_side) == (20, None)


@pytest.mark.parametrize(("resize", "side"), [("squash", 256), ("crop", 223)])
def test_a_shorter_side_that_cannot_be_cropped_is_refused(resize: Resize, side: int) -> None:
    with pytest.raises(ValueError, match=f"shorter_side {side}"):
        ImageSpec(224, 224, *MEAN_STD, resize, shorter_side=side)


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape() -> None:
    data = thumbnail(picture((900, 600)), 96)
    small = Image.open(io.BytesIO(data))
    assert (small.format, small.size) == ("JPEG", (96, 64))
    assert_upright(small, tolerance=25)
    assert Image.open(io.BytesIO(thumbnail(picture(), 500))).size == picture().size
    assert Image.open(io.BytesIO(thumbnail(noise(1, 5000, seed=5), 100))).size == (1, 100)


def test_a_webp_thumbnail_is_small_and_upright() -> None:
    small = Image.open(io.BytesIO(webp_thumbnail(picture((900, 600)), 96)))
    assert (small.format, small.size) == ("WEBP", (96, 64))
    assert_upright(small, tolerance=25)


def test_the_mean_colour_is_that_of_all_pixels() -> None:
    image = Image.new("RGB", (300, 200), (200, 100, 0))
    image.paste((0, 100, 50), (0, 0, 150, 200))
    assert mean_colour(image) == (100, 100, 25)
    assert mean_colour(Image.new("RGB", (1, 5000), (1, 2, 3))) == (1, 2, 3)


# ---------------------------------------------------------------------------------- properties

sides = st.integers(1, 700)
targets = st.builds(
    spec, st.integers(1, 64), st.integers(1, 64), st.sampled_from(("squash", "crop"))
)


@settings(max_examples=60, deadline=None)
@given(sides, sides, targets)
def test_any_size_gives_the_requested_shape(width: int, height: int, to: ImageSpec) -> None:
    pixels = to_pixels(Image.new("RGB", (width, height), (9, 99, 199)), to)
    assert pixels.shape == (to.height, to.width, 3)
    assert np.abs(pixels.astype(int) - (9, 99, 199)).max() <= 2  # the precision of 8-bit weights


@given(st.integers(1, 100_000), st.integers(1, 100_000), targets)
def test_the_visible_box_lies_inside_the_photo_and_has_the_students_shape(
    width: int, height: int, to: ImageSpec
) -> None:
    box = visible_box(width, height, to)
    assert 0 <= box.left < box.right <= 1
    assert 0 <= box.top < box.bottom <= 1
    if to.resize == "crop":
        across, down = (box.right - box.left) * width, (box.bottom - box.top) * height
        assert across / down == pytest.approx(to.width / to.height)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(("a.jpg", "a.nef", "")))
def test_no_bytes_raise_anything_but_a_photo_error(data: bytes, name: str) -> None:
    with pytest.raises(PhotoError):
        decode(data, name=name)


WHOLE = [
    save(noise(24, 16, seed=6), "JPEG"),
    turned_jpeg(6),
    jpeg(progressive=True),
    *(save(noise(24, 16, seed=6), format) for format in ("PNG", "WEBP", "GIF", "BMP", "TIFF")),
    save(noise(24, 16, seed=6), "AVIF"),
]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6),
    st.integers(0, 100),
)
def test_no_damage_raises_anything_but_a_photo_error(
    whole: bytes, changes: list[tuple[int, int]], percent: int
) -> None:
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    kept = len(data) * percent // 100 if percent < 50 else len(data)
    try:
        decoded = decode(bytes(data[:kept]), max_pixels=4_000_000)
    except PhotoError as error:
        assert str(error).isprintable()
    else:
        assert decoded.image.mode == "RGB"
