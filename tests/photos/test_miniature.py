"""Miniatures tell an edited photo from another one."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mkt_search.photos.miniature import is_same_picture, miniature, similarity


def picture(seed: int, size: tuple[int, int] = (120, 80)) -> Image.Image:
    """Return a picture of random shapes, large and small."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", size, 128)
    for side in (4, 8, 16):
        grid = Image.fromarray(rng.integers(0, 255, (side, side), np.uint8))
        image = Image.blend(image, grid.resize(size, Image.Resampling.BICUBIC), 0.5)
    return image.convert("RGB")


EDITS = {
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.4),
    "half the size": lambda image: image.resize((60, 40)),
    "cropped": lambda image: image.crop((10, 10, 110, 75)),
    "square": lambda image: image.crop((20, 0, 100, 80)),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside down and cropped": lambda image: image.rotate(180).crop((0, 0, 100, 70)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_the_same_picture(edit: str) -> None:
    before, after = miniature(picture(1)), miniature(EDITS[edit](picture(1)))
    assert is_same_picture(before, after) and is_same_picture(after, before)


def test_another_picture_is_another_one() -> None:
    miniatures = [miniature(picture(seed)) for seed in range(8)]
    for one in miniatures:
        assert [is_same_picture(one, other) for other in miniatures] == [
            one is other for other in miniatures
        ]


def test_a_picture_that_is_mostly_sky_is_known_again() -> None:
    """New metadata alone make new bytes, too."""
    sky = Image.new("RGB", (120, 80), "skyblue")
    with_ground = [sky.copy(), sky.copy()]
    for image, seed in zip(with_ground, (1, 2), strict=True):
        image.paste(picture(seed, (120, 28)), (0, 52))
    one, other = map(miniature, with_ground)
    assert is_same_picture(one, one) and not is_same_picture(one, other)


def test_pictures_with_one_horizon_are_not_the_same() -> None:
    """A strong edge that both have must not decide."""
    night = []
    for seed in (1, 2):
        image = Image.blend(picture(seed), Image.new("RGB", (120, 80)), 0.7)
        image.paste(Image.new("RGB", (120, 20), "white"), (0, 60))
        night.append(miniature(image))
    assert not is_same_picture(*night)


def test_a_picture_without_any_detail_proves_nothing() -> None:
    gray, red = (miniature(Image.new("RGB", (64, 64), colour)) for colour in ("gray", "red"))
    assert similarity(gray, red) == similarity(gray, gray) == 0


def test_a_miniature_is_small_whatever_the_photo_is() -> None:
    for size in ((1, 1), (4000, 10), (30, 3000), (32, 32), (64, 48)):
        found = miniature(Image.new("RGB", size))
        width, height = found[:2]
        assert len(found) == 2 + width * height <= 2 + 32 * 32
        assert similarity(found, miniature(picture(1))) == 0
