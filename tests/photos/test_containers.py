"""What viewers overlook in a file is put right before a decoder sees it."""

import io
import os
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from mkt_search.photos.containers import MAX_PROFILE, sound_png, sound_webp
from mkt_search.photos.decode import decode
from tests.odd_photos import noise, picture, pixel, png_chunk, save
from tests.photos.picture_files import broken_chunk, chunked, swapped_profile

PNG = save(picture(), "PNG")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LONG_TEXT = b"Comment\0\0" + zlib.compress(bytes(3_000_000))
LONG_UNICODE = b"Comment\0\x01\0en\0Comment\0" + zlib.compress(bytes(3_000_000))


def pixels(data: bytes) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(decode(data).image)


@pytest.mark.parametrize(
    "chunk",
    [
        broken_chunk(b"tEXt", b"Comment\0hello"),
        broken_chunk(b"iCCP", b"name\0\0" + zlib.compress(b"x")),
        broken_chunk(b"eXIf", b"MM\0*"),
        broken_chunk(b"abCd", b"private"),
        png_chunk(b"pHYs", b"short"),
        png_chunk(b"zTXt", LONG_TEXT),
        png_chunk(b"iTXt", LONG_UNICODE),
        png_chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000),
        png_chunk(b"iCCP", b"large\0\0" + zlib.compress(bytes(MAX_PROFILE + 1))),
        b"".join(png_chunk(b"zTXt", b"Part\0\0" + zlib.compress(bytes(700_000))) for _ in range(9)),
    ],
    ids=[
        *("text", "profile", "exif", "private", "short", "long text", "long unicode", "plain text"),
        *("large profile", "many texts"),
    ],
)
def test_a_png_with_side_data_that_decoders_refuse_is_shown(chunk: bytes) -> None:
    np.testing.assert_array_equal(pixels(chunked(PNG, chunk)), np.asarray(picture()))
    behind = PNG[:-12] + chunk + PNG[-12:]
    np.testing.assert_array_equal(pixels(behind), np.asarray(picture()))


def test_a_sound_png_stays_as_it_is_and_sound_side_data_is_kept() -> None:
    assert sound_png(PNG) == (PNG, None)
    text = png_chunk(b"tEXt", b"Author\0me")
    data = chunked(PNG, text, broken_chunk(b"tEXt", b"Comment\0hello"))
    assert sound_png(data)[0] == chunked(PNG, text)


def test_a_profile_of_more_than_a_megabyte_is_used() -> None:
    profile = swapped_profile()
    padded = (len(profile) + 2_000_000).to_bytes(4, "big") + profile[4:] + os.urandom(2_000_000)
    data = chunked(PNG, png_chunk(b"iCCP", b"large\0\0" + zlib.compress(padded)))
    assert sound_png(data) == (PNG, padded)
    red, green, _ = pixels(data)[5, 5]
    assert green > red


GREY = save(Image.new("RGB", (8, 8), (64, 64, 64)), "PNG")
LINEAR = png_chunk(b"gAMA", (100_000).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("chunks", "level"),
    [
        ([LINEAR], 137),
        ([png_chunk(b"gAMA", (45_455).to_bytes(4, "big"))], 64),
        ([png_chunk(b"gAMA", bytes(4))], 64),
        ([LINEAR, png_chunk(b"sRGB", b"\0")], 64),
        ([png_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(SRGB)), LINEAR], 64),
    ],
    ids=["linear", "as sRGB", "zero", "sRGB too", "a profile too"],
)
def test_the_gamma_of_a_png_counts_where_nothing_else_says_what_its_colours_are(
    chunks: list[bytes], level: int
) -> None:
    shown = decode(chunked(GREY, *chunks)).image
    assert pixel(shown, 4, 4) == (level, level, level)


@pytest.mark.parametrize("difference", [-2, -1, 1, 2, 8])
@pytest.mark.parametrize("exif", [b"", b"II*\0\x08\0\0\0\0\0\0\0\0"])
def test_a_webp_whose_header_gives_another_length_is_shown(difference: int, exif: bytes) -> None:
    data = save(picture(), "WEBP", lossless=True, exif=exif)
    length = int.from_bytes(data[4:8], "little")
    changed = data[:4] + (length + difference).to_bytes(4, "little") + data[8:]
    assert sound_webp(changed) == data
    np.testing.assert_array_equal(pixels(changed), np.asarray(picture()))


def test_a_webp_without_its_last_padding_is_shown() -> None:
    data = save(picture(), "WEBP", lossless=True, exif=b"an odd block of EXIF!")
    assert data.endswith(b"!\0")
    np.testing.assert_array_equal(pixels(data[:-1]), pixels(data))


def test_a_webp_that_is_really_cut_is_not_changed() -> None:
    data = save(noise(60, 60, seed=1), "WEBP")
    assert sound_webp(data[:-40]) == data[:-40]
    assert sound_webp(data) == data
    assert sound_webp(data[:14]) == data[:14]


def test_the_still_picture_of_an_animated_png_is_its_first() -> None:
    second = Image.new("RGB", picture().size, "blue")
    data = save(picture(), "PNG", save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).n_frames == 2  # type: ignore[attr-defined]
    np.testing.assert_array_equal(pixels(data), np.asarray(picture()))
