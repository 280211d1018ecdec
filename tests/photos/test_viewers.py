"""Photos look as ImageMagick, an independent decoder, shows them: a table of made files."""

import io
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mkt_search.photos.decode import decode
from tests.photos.picture_files import alpha_table, profile_table, table
from tests.require import imagemagick

MEAN_DIFFERENCE = 2.5
"""Levels of 255; JPEG and WebP decoders differ by one."""


def shown_by_imagemagick(path: Path, *options: str) -> np.ndarray:  # type: ignore[type-arg]
    command = [imagemagick(), f"{path}[0]", *options, "-depth", "8", "ppm:-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return np.asarray(Image.open(io.BytesIO(done.stdout)).convert("RGB"), int)


def different(files: Iterable[tuple[str, bytes]], folder: Path, *options: str) -> dict[str, float]:
    """Return the mean difference, in levels, of the files that look otherwise."""
    found = {}
    for name, data in files:
        path = folder / name
        path.write_bytes(data)
        expected = shown_by_imagemagick(path, *options)
        difference = np.abs(np.asarray(decode(data).image, int) - expected).mean()
        if difference > MEAN_DIFFERENCE:
            found[name] = round(float(difference), 1)
    return found


@pytest.mark.slow
def test_pixels_of_every_kind_look_as_another_decoder_shows_them(tmp_path: Path) -> None:
    assert different(table(), tmp_path, "-colorspace", "sRGB") == {}


@pytest.mark.slow
def test_colour_profiles_look_as_another_decoder_shows_them(tmp_path: Path) -> None:
    srgb = tmp_path / "srgb.icc"
    srgb.write_bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert different(profile_table(), tmp_path, "-profile", str(srgb)) == {}


@pytest.mark.slow
def test_transparency_looks_as_another_decoder_shows_it_on_white(tmp_path: Path) -> None:
    assert different(alpha_table(), tmp_path, "-background", "white", "-alpha", "remove") == {}
