"""What EXIF says is used if it is plausible, and missing otherwise."""

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from mkt_search.photos.exif import orientation, parse_exif, photo_facts, read_exif
from mkt_search.types import PhotoFacts
from tests.odd_photos import dng, exif_jpeg, raw_exif_jpeg


def facts_of(data: bytes) -> PhotoFacts:
    image = Image.open(io.BytesIO(data))
    return photo_facts(read_exif(image), image.size, format="JPEG")


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
    assert facts_of(exif_jpeg(fill_with(**tags))).taken_at == expected


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
    assert facts_of(data).camera == camera


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
    facts = facts_of(data)
    assert (facts.latitude, facts.longitude) == pytest.approx(expected, abs=1e-5)


def test_a_broken_position_leaves_the_date_alone() -> None:
    fill = fill_with(exif_9003="2019:05:02 10:11:12", gps_1="N", gps_2=degrees(1, 2, 3))
    data = bytearray(exif_jpeg(fill))
    at = data.index(b"\x88\x25")  # the pointer to the block of positions, sent astray
    data[at + 8 : at + 12] = b"\x7f\xff\xff\xf0"
    facts = facts_of(bytes(data))
    assert facts.taken_at == datetime(2019, 5, 2, 10, 11, 12)
    assert facts.latitude is None


@pytest.mark.parametrize(("value", "expected"), [(6, 6), (0, 1), (9, 1), (77, 1)])
def test_an_orientation_out_of_range_is_upright(value: int, expected: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert orientation(exif) == expected
    assert orientation(Image.Exif()) == 1


def test_broken_exif_is_empty() -> None:
    image = Image.open(io.BytesIO(raw_exif_jpeg(b"garbage that is not TIFF")))
    assert photo_facts(read_exif(image), (96, 64), format="JPEG") == PhotoFacts(96, 64, "JPEG")
    assert not len(parse_exif(b"garbage"))


def test_a_raw_file_has_tiff_exif() -> None:
    facts = photo_facts(parse_exif(dng(orientation=6)), (512, 640), format="DNG")
    assert (facts.width, facts.height) == (512, 640)
    assert (facts.camera, facts.orientation) == ("Acme One", 6)
