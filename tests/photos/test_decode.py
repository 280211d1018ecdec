import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from torchvision import transforms

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import (
    RAW_SUFFIXES,
    SUFFIXES,
    decode,
    read,
    seen_box,
    thumbnail,
    to_pixels,
)
from mkt_search.types import Box, ImageSpec, Resize
from tests.odd_photos import (
    CORNERS,
    OddPhoto,
    deep_values,
    dng,
    exif_jpeg,
    jpeg,
    make_odd_photos,
    noise,
    picture,
    save,
    turned_jpeg,
    ycck_jpeg,
)

MEAN_STD = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def spec(height: int = 224, width: int = 224, resize: Resize = "squash") -> ImageSpec:
    return ImageSpec(height, width, *MEAN_STD, resize)


def corner_colours(image: Image.Image) -> dict[str, tuple[int, ...]]:
    right, bottom = image.width - 6, image.height - 6
    places = {
        "top left": (5, 5),
        "top right": (right, 5),
        "bottom left": (5, bottom),
        "bottom right": (right, bottom),
    }
    return {name: pixel(image, x, y) for name, (x, y) in places.items()}


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(map(int, np.asarray(image)[y, x]))


def assert_upright(image: Image.Image, tolerance: int = 12) -> None:
    assert image.mode == "RGB"
    for corner, colour in corner_colours(image).items():
        np.testing.assert_allclose(colour, CORNERS[corner], atol=tolerance, err_msg=corner)


@pytest.fixture(scope="module")
def odd_photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OddPhoto]]:
    folder = tmp_path_factory.mktemp("odd")
    yield make_odd_photos(folder)
    (folder / "large.jpg").unlink()


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
        ("dangling.jpg", "link to nothing"),
        ("loop.jpg", "leads to itself"),
        ("folder.jpg", "not a regular file"),
        ("pipe.jpg", "not a regular file"),
        ("large.jpg", "3.0 GiB"),
        ("never was.jpg", "gone"),
    ],
)
def test_reading_names_what_is_in_the_way(
    odd_photos: list[OddPhoto], name: str, reason: str
) -> None:
    with pytest.raises(PhotoError, match=reason):
        read(odd_photos[0].path.parent / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_forbidden_file_is_a_reason(odd_photos: list[OddPhoto]) -> None:
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


def test_lab_keeps_its_lightness_and_hue() -> None:
    lab = Image.new("LAB", (4, 4), (135, 208, 195))
    red, green, blue = pixel(decode(save(lab, "TIFF")).image, 1, 1)
    assert red > 200 and green < 60 and blue < 60


def test_transparency_becomes_white() -> None:
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


def test_floats_from_zero_to_one_are_taken_as_such() -> None:
    grey = np.full((4, 4), 0.5, np.float32)
    assert pixel(decode(save(Image.fromarray(grey), "TIFF")).image, 0, 0) == (127, 127, 127)


def test_floats_beyond_one_fill_their_range_and_nan_is_black() -> None:
    values = np.array([[-100, 900], [1900, np.nan]], np.float32)
    decoded = decode(save(Image.fromarray(values), "TIFF")).image
    assert np.asarray(decoded)[..., 0].tolist() == [[0, 127], [255, 0]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_many_frames_the_first_counts(format: str) -> None:
    first, second = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
    decoded = decode(save(first, format, save_all=True, append_images=[second]))
    red, _, blue = pixel(decoded.image, 20, 15)
    assert red > 240 and blue < 20


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_truncated_file_says_so(format: str, tenth: int) -> None:
    data = save(noise(200, 150, seed=1), format)
    with pytest.raises(PhotoError, match=f"^(truncated|damaged) {format}: ") as caught:
        decode(data[: len(data) * tenth // 10])
    if format != "TIFF":  # whose directory may be the part that is missing
        assert "truncated" in str(caught.value)


def test_a_half_downloaded_jpeg_is_refused_though_it_decodes() -> None:
    data = save(noise(300, 200, seed=2), "JPEG")
    with pytest.raises(PhotoError, match="the rest of the file is zeros"):
        decode(data[: len(data) // 2].ljust(len(data), b"\0"))
    assert decode(data + bytes(5000)).image.size == (300, 200)


def test_the_pixel_cap_is_an_argument_and_not_pillows_global(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = jpeg()
    with pytest.raises(PhotoError, match="96 x 64 pixels are more than"):
        decode(data, max_pixels=96 * 64 - 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(data, max_pixels=96 * 64).image.size == (96, 64)


def test_warnings_of_others_still_speak_while_a_thread_decodes() -> None:
    def fill(exif: Image.Exif) -> None:
        exif[0x010F] = "A maker with a long name"

    data = exif_jpeg(fill)
    at = data.index(b"\x01\x0f", 20)  # the count of the tag's characters, made absurd
    broken = data[: at + 4] + b"\x00\x00\xff\xf0" + data[at + 8 :]
    with pytest.warns(UserWarning, match="Corrupt EXIF|larger than file|Truncated"):
        Image.open(io.BytesIO(broken)).getexif()
    with ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(decode, [broken] * 40))
    assert len(decoded) == 40
    with pytest.warns(UserWarning):
        Image.open(io.BytesIO(broken)).getexif()


def test_suffixes_are_lower_case_and_raw_is_among_them() -> None:
    assert RAW_SUFFIXES < SUFFIXES
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".avif", ".heic"} <= SUFFIXES
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)


# ---------------------------------------------------------------------------------- RAW, extras


@pytest.mark.parametrize(("orientation", "bright"), [(1, "left"), (3, "right"), (6, "top")])
def test_a_raw_file_is_developed_upright(orientation: int, bright: str) -> None:
    pytest.importorskip("rawpy")
    decoded = decode(dng(orientation=orientation), name="a.DNG")
    grey = np.asarray(decoded.image.convert("L"), float)
    halves = {
        "left": grey[:, :100].mean() - grey[:, -100:].mean(),
        "right": grey[:, -100:].mean() - grey[:, :100].mean(),
        "top": grey[:100].mean() - grey[-100:].mean(),
    }
    assert halves[bright] > 100
    size = (512, 640) if orientation == 6 else (640, 512)
    assert (decoded.facts.width, decoded.facts.height) == size
    assert decoded.facts.camera == "Acme One"
    assert decoded.facts.taken_at == datetime(2021, 6, 5, 4, 3, 2)
    assert decoded.facts.format == "DNG"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_preview_is_turned_upright(orientation: int) -> None:
    pytest.importorskip("rawpy")
    turns = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    size = (512, 640) if orientation in (6, 8) else (640, 512)
    upright = picture(size)
    stored = upright.transpose(turns[orientation]) if orientation in turns else upright
    data = dng(orientation=orientation, preview=save(stored, "JPEG", quality=95))
    decoded = decode(data, name="a.dng")
    assert decoded.image.size == size
    assert_upright(decoded.image)
    if orientation in (6, 8):  # some cameras store the preview upright already
        data = dng(orientation=orientation, preview=save(upright, "JPEG", quality=95))
        assert_upright(decode(data, name="a.dng").image)


def test_a_small_raw_preview_is_passed_over() -> None:
    pytest.importorskip("rawpy")
    data = dng(preview=save(Image.new("RGB", (160, 128), "red"), "JPEG"))
    assert decode(data, name="a.dng").image.size == (320, 256)
    assert decode(data, name="a.dng", shorter_side=100).image.size == (160, 128)


def test_the_pixel_cap_holds_for_raw_files() -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(PhotoError, match="640 x 512 pixels"):
        decode(dng(), name="a.dng", max_pixels=1000)


@pytest.mark.parametrize(
    ("module", "data", "name", "extra"),
    [
        ("rawpy", b"II*\0" + bytes(100), "a.nef", r"mkt-search\[raw\]"),
        ("pillow_heif", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic", r"mkt-search\[heif\]"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, data: bytes, name: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PhotoError, match=extra):
        decode(data, name=name)


# --------------------------------------------------------------------------------------- facts


def fill_with(**tags: Any) -> Callable[[Image.Exif], None]:
    """Names: main_, exif_ or gps_ and the tag in hexadecimal."""

    def fill(exif: Image.Exif) -> None:
        for name, value in tags.items():
            block, tag = name.split("_")
            number = int(tag, 16)
            if block == "main":
                exif[number] = value
            else:
                exif.get_ifd({"exif": 0x8769, "gps": 0x8825}[block])[number] = value

    return fill


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (
            {"exif_9003": "2019:05:02 10:11:12", "main_132": "2022:01:01 00:00:00"},
            datetime(2019, 5, 2, 10, 11, 12),
        ),
        (
            {"exif_9003": "2019:05:02 10:11:12", "exif_9291": "25", "exif_9011": "+09:00"},
            datetime(2019, 5, 2, 10, 11, 12, 250_000),
        ),
        ({"exif_9004": "2019-05-02T10:11:12"}, datetime(2019, 5, 2, 10, 11, 12)),
        ({"main_132": "2019/5/2 1:02"}, datetime(2019, 5, 2, 1, 2)),
        (
            {"exif_9003": "0000:00:00 00:00:00", "main_132": "2019:05:02 10:11:12"},
            datetime(2019, 5, 2, 10, 11, 12),
        ),
        ({"exif_9003": "2019:13:45 99:99:99"}, None),
        ({"exif_9003": "yesterday"}, None),
        ({}, None),
    ],
)
def test_taken_at_is_the_local_time_of_exposure(
    tags: dict[str, Any], expected: datetime | None
) -> None:
    assert decode(exif_jpeg(fill_with(**tags))).facts.taken_at == expected


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("Apple ", "  ", "Apple"),
        ("", "X100V\0garbage", "X100V"),
        ("Bad\x07\nMaker", "One", "Bad Maker One"),
        ("", "", None),
    ],
)
def test_a_camera_is_named_once(make: str, model: str, camera: str | None) -> None:
    data = exif_jpeg(fill_with(main_10F=make, main_110=model))
    assert decode(data).facts.camera == camera


def degrees(*parts: float) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(int(part * 100), 100) for part in parts)


@pytest.mark.parametrize(
    ("latitude", "north", "longitude", "east", "expected"),
    [
        (degrees(48, 51, 30), "N", degrees(2, 17, 40), "E", (48.858333, 2.294444)),
        (degrees(33, 52, 4), "S", degrees(151, 12, 26), "W", (-33.867778, -151.207222)),
        (degrees(0, 0, 0), "N", degrees(0, 0, 0), "E", (None, None)),
        (degrees(91, 0, 0), "N", degrees(2, 0, 0), "E", (None, None)),
        (degrees(48, 0, 0), "N", degrees(2, 0), "E", (None, None)),
        (degrees(48, 0, 0), "", degrees(2, 0, 0), "E", (None, None)),
        ((IFDRational(0, 0),) * 3, "N", degrees(2, 0, 0), "E", (None, None)),
    ],
)
def test_a_position_is_signed_degrees_or_nothing(
    latitude: Any,
    north: str,
    longitude: Any,
    east: str,
    expected: tuple[float | None, float | None],
) -> None:
    data = exif_jpeg(fill_with(gps_1=north, gps_2=latitude, gps_3=east, gps_4=longitude))
    facts = decode(data).facts
    assert (facts.latitude, facts.longitude) == pytest.approx(expected, abs=1e-5)


def test_a_broken_position_leaves_the_date_alone() -> None:
    fill = fill_with(exif_9003="2019:05:02 10:11:12", gps_1="N", gps_2=degrees(1, 2, 3))
    data = bytearray(exif_jpeg(fill))
    at = data.index(b"\x88\x25")  # the pointer to the block of positions, sent astray
    data[at + 8 : at + 12] = b"\x7f\xff\xff\xf0"
    facts = decode(bytes(data)).facts
    assert facts.taken_at == datetime(2019, 5, 2, 10, 11, 12)
    assert facts.latitude is None


# -------------------------------------------------------------------------------------- pixels


def by_pillow(image: Image.Image, to: ImageSpec) -> np.ndarray[Any, Any]:
    """The slow plain way: scale the whole photo, then cut the centre."""
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
    # the plain way rounds the scaled size and the cut to whole pixels: up to one pixel of shift
    assert np.abs(pixels - by_pillow(rough, spec(resize=resize))).mean() < 2.5


def test_an_image_of_the_right_size_passes_untouched() -> None:
    image = noise(20, 10, seed=4)
    np.testing.assert_array_equal(to_pixels(image, spec(10, 20)), np.asarray(image))


def test_the_crop_is_the_centre() -> None:
    assert seen_box(200, 100, spec(resize="crop")) == Box(0.25, 0.0, 0.75, 1.0)
    assert seen_box(100, 400, spec(resize="crop")) == Box(0.0, 0.375, 1.0, 0.625)
    assert seen_box(200, 100, spec(10, 20, "crop")) == Box(0.0, 0.0, 1.0, 1.0)
    assert seen_box(200, 100, spec()) == Box(0.0, 0.0, 1.0, 1.0)


CENTRE = ImageSpec(224, 224, *MEAN_STD, "crop", shorter_side=256)


@pytest.mark.parametrize(
    "size", [(256, 256), (500, 375), (375, 500), (351, 486), (33, 21), (256, 259), (900, 57)]
)
def test_a_shorter_side_gives_torchvision_s_pixels(size: tuple[int, int]) -> None:
    image = noise(*size, seed=6)
    bicubic = transforms.InterpolationMode.BICUBIC
    both = transforms.Compose([transforms.Resize(256, bicubic), transforms.CenterCrop(224)])
    np.testing.assert_array_equal(to_pixels(image, CENTRE), np.asarray(both(image)))


def test_of_a_scaled_photo_the_seen_box_is_what_the_crop_keeps() -> None:
    assert seen_box(256, 512, CENTRE) == Box(16 / 256, 144 / 512, 240 / 256, 368 / 512)
    assert seen_box(1024, 512, CENTRE) == Box(144 / 512, 16 / 256, 368 / 512, 240 / 256)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 90), st.sampled_from([1, 7, 15, 17, 400]))
def test_a_strip_of_any_length_fills_the_crop(width: int, times: int) -> None:
    strip = Image.new("RGB", (width, width * times), (9, 99, 199))
    pixels = to_pixels(strip, CENTRE)
    assert pixels.shape == (224, 224, 3)
    assert np.abs(pixels.astype(int) - (9, 99, 199)).max() <= 2
    box = seen_box(*strip.size, CENTRE)
    assert 0 <= box.left < box.right <= 1
    assert 0 <= box.top < box.bottom <= 1


def test_a_photo_for_torchvision_s_pixels_is_decoded_whole() -> None:
    assert (spec(10, 20).decode_side, CENTRE.decode_side) == (20, None)


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


# ---------------------------------------------------------------------------------- properties

sides = st.integers(1, 700)
targets = st.builds(
    spec, st.integers(1, 64), st.integers(1, 64), st.sampled_from(("squash", "crop"))
)


@settings(max_examples=60, deadline=None)
@given(sides, sides, targets)
def test_any_size_gives_the_asked_shape(width: int, height: int, to: ImageSpec) -> None:
    pixels = to_pixels(Image.new("RGB", (width, height), (9, 99, 199)), to)
    assert pixels.shape == (to.height, to.width, 3)
    assert np.abs(pixels.astype(int) - (9, 99, 199)).max() <= 2  # as near as 8-bit weights come


@given(st.integers(1, 100_000), st.integers(1, 100_000), targets)
def test_the_seen_box_lies_inside_the_photo_and_has_the_students_shape(
    width: int, height: int, to: ImageSpec
) -> None:
    box = seen_box(width, height, to)
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
