"""The passes of a JPEG are counted up to its end marker, previews and later pictures left out."""

import numpy as np
from PIL import Image

from mkt_search.photos.jpeg import lacks_rows, structure
from tests.odd_photos import jpeg, noise, raw_exif_jpeg, save


def test_a_plain_jpeg_has_one_pass_and_a_progressive_one_has_ten() -> None:
    assert len(structure(jpeg()).scans) == 1
    found = structure(jpeg(progressive=True))
    assert len(found.scans) == 10 and found.ends


def test_a_preview_in_the_header_and_a_second_picture_are_not_counted() -> None:
    found = structure(raw_exif_jpeg(jpeg()) + jpeg(progressive=True))
    assert len(found.scans) == 1 and found.ends


def test_a_cut_file_has_no_end() -> None:
    data = save(noise(100, 80, seed=1), "JPEG")
    assert not structure(data[:-2]).ends
    assert structure(data[: len(data) // 2] + jpeg()[-2:]).ends
    assert structure(b"\xff\xd8").scans == ()


def test_a_cut_progressive_jpeg_is_nearly_whole_once_every_coefficient_was_begun() -> None:
    data = jpeg(progressive=True)
    starts = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
    assert structure(data[:-2]).is_nearly_whole(3, scale=1)
    assert structure(data[: starts[-1] + 30]).is_nearly_whole(3, scale=1)
    early = structure(data[: starts[2]])
    assert not early.is_nearly_whole(3, scale=1)
    assert early.is_nearly_whole(3, scale=8)


def test_rows_without_data_are_middle_grey() -> None:
    image = noise(50, 100, seed=2)
    assert not lacks_rows(image)
    image.paste((128, 128, 128), (0, 90, 50, 100))
    assert lacks_rows(image)
    assert not lacks_rows(Image.fromarray(np.full((40, 40), 90, np.uint8)))
