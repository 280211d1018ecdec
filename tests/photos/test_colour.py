"""Colours come out as a viewer shows them."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from mkt_search.photos.colour import to_8_bits, to_rgb
from tests.odd_photos import pixel
from tests.photos.picture_files import (
    ink_profile,
    linear_grey_profile,
    scene_image,
    swapped_profile,
    wide_profile,
)

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (8, 8), colour)  # type: ignore[arg-type]


def test_the_profile_decides_what_a_colour_is() -> None:
    assert pixel(to_rgb(plain("RGB", (255, 0, 0)), swapped_profile()), 1, 1) == (0, 255, 0)
    red, green, blue = pixel(to_rgb(plain("RGB", (120, 200, 120)), wide_profile()), 1, 1)
    assert min(green - red, green - blue) > 84  # of a wider range: more saturated in sRGB


def test_grey_that_is_proportional_to_light_becomes_brighter() -> None:
    assert pixel(to_rgb(plain("L", 64), linear_grey_profile()), 1, 1)[0] == pytest.approx(
        137, abs=2
    )


def test_samples_that_are_a_power_of_light_become_levels_of_srgb() -> None:
    linear = to_rgb(plain("L", 64), linear_grey_profile())
    assert pixel(to_rgb(plain("L", 64), gamma=1.0), 1, 1) == pytest.approx(
        pixel(linear, 1, 1), abs=2
    )
    assert pixel(to_rgb(plain("RGB", (0, 128, 255)), gamma=1 / 1.8), 1, 1) == (0, 146, 255)
    drawing = to_rgb(Image.new("RGBA", (8, 8), (64, 64, 64, 255)), gamma=1.0)
    assert pixel(drawing, 1, 1) == pixel(to_rgb(plain("RGB", (64, 64, 64)), gamma=1.0), 1, 1)


def test_inks_are_shown_by_their_profile_and_without_one_as_their_complements() -> None:
    cyan = plain("CMYK", (255, 0, 0, 0))
    red, green, blue = pixel(to_rgb(cyan, ink_profile()), 1, 1)
    assert red > green + 60 and red > blue + 60
    assert pixel(to_rgb(cyan), 1, 1) == (0, 255, 255)


@pytest.mark.parametrize(
    "profile", [None, b"", b"no profile", SRGB, linear_grey_profile(), ink_profile(), bytes(5000)]
)
def test_a_profile_of_srgb_or_one_that_does_not_fit_changes_nothing(profile: bytes | None) -> None:
    image = scene_image()
    assert to_rgb(image, profile) is image


def test_lab_keeps_its_lightness_and_hue() -> None:
    red, green, blue = pixel(to_rgb(plain("LAB", (135, 208, 195))), 1, 1)
    assert red > 200 and green < 60 and blue < 60


def drawing(colour: tuple[int, int, int]) -> Image.Image:
    """A stroke on a clear page whose hidden colour is the same."""
    image = plain("RGBA", (*colour, 0))
    image.paste((*colour, 255), (2, 2, 6, 6))
    return image


@pytest.mark.parametrize(
    ("colour", "ground"),
    [((0, 0, 0), 255), ((200, 30, 30), 255), ((255, 255, 255), 0), ((250, 250, 220), 0)],
)
def test_a_drawing_is_laid_on_white_unless_it_is_as_light(
    colour: tuple[int, int, int], ground: int
) -> None:
    shown = to_rgb(drawing(colour))
    assert pixel(shown, 0, 0) == (ground,) * 3
    assert pixel(shown, 3, 3) == colour


def test_the_profile_is_applied_below_transparency() -> None:
    image = plain("RGBA", (255, 0, 0, 128))
    assert pixel(to_rgb(image, swapped_profile()), 1, 1) == (127, 255, 127)
    assert pixel(to_rgb(plain("LA", (64, 255)), linear_grey_profile()), 1, 1)[0] > 130


def test_values_are_scaled_and_what_is_beyond_is_clipped() -> None:
    values = np.array([-np.inf, -1, 0, 0.5, 1, 9, np.inf, np.nan], np.float32)
    assert to_8_bits(values, 0, 1).tolist() == [0, 0, 0, 127, 255, 255, 255, 0]
