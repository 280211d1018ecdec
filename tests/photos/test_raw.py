"""RAW files: previews and developed sensors."""

import io
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from mkt_search.errors import PhotoError
from mkt_search.photos.decode import decode
from mkt_search.photos.raw import decode_raw
from tests.odd_photos import assert_upright, dng, picture, save

pytest.importorskip("rawpy")


@pytest.mark.parametrize(("orientation", "bright"), [(1, "left"), (3, "right"), (6, "top")])
def test_a_raw_file_is_developed_upright(orientation: int, bright: str) -> None:
    decoded = decode(dng(orientation=orientation), name="a.DNG")
    gray = np.asarray(decoded.image.convert("L"), float)
    halves = {
        "left": gray[:, :100].mean() - gray[:, -100:].mean(),
        "right": gray[:, -100:].mean() - gray[:, :100].mean(),
        "top": gray[:100].mean() - gray[-100:].mean(),
    }
    assert halves[bright] > 100
    size = (512, 640) if orientation == 6 else (640, 512)
    assert (decoded.facts.width, decoded.facts.height) == size
    assert decoded.facts.camera == "Acme One"
    assert decoded.facts.taken_at == datetime(2021, 6, 5, 4, 3, 2)
    assert decoded.facts.format == "DNG"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_preview_is_turned_upright(orientation: int) -> None:
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


def test_a_small_raw_preview_is_not_used() -> None:
    data = dng(preview=save(Image.new("RGB", (160, 128), "red"), "JPEG"))
    assert decode(data, name="a.dng").image.size == (320, 256)
    assert decode(data, name="a.dng", shorter_side=100).image.size == (160, 128)


def test_the_pixel_limit_holds_for_raw_files() -> None:
    with pytest.raises(PhotoError, match="640 x 512 pixels"):
        decode(dng(), name="a.dng", max_pixels=1000)


def test_the_embedded_preview_is_returned_for_its_exif() -> None:
    jpeg = save(picture((160, 128)), "JPEG")
    raw = decode_raw(dng(preview=jpeg), shorter_side=None, max_pixels=1_000_000)
    assert (raw.image.size, raw.size) == ((320, 256), (640, 512))
    assert raw.preview is not None and Image.open(io.BytesIO(raw.preview)).size == (160, 128)
    assert decode_raw(dng(), shorter_side=None, max_pixels=1_000_000).preview is None


def test_a_damaged_preview_is_ignored() -> None:
    jpeg = save(picture((640, 512)), "JPEG")
    damaged = jpeg[:20] + bytes(len(jpeg) - 20)
    raw = decode_raw(dng(preview=jpeg).replace(jpeg, damaged), shorter_side=100, max_pixels=10**6)
    assert raw.image.size == (320, 256)
