"""What EXIF says is used if it is plausible, and missing otherwise."""

import io
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from mkt_search.photos.decode import decode
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
        ({"exif_9003": "2016:02:02 24:28:33"}, datetime(2016, 2, 2, 0, 28, 33)),
        ({"exif_9003": "2019:05:02"}, datetime(2019, 5, 2)),
        ({"exif_9003": "2019:13:45 99:99:99"}, None),
        ({"exif_9003": "yesterday"}, None),
        ({}, None),
    ],
)
def test_taken_at_is_the_local_time_of_exposure(
    tags: dict[str, Any], expected: datetime | None
) -> None:
    assert facts_of(exif_jpeg(fill_with(**tags))).taken_at == expected


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a exif:DateTimeOriginal="2018-01-02T03:04:05"/>'
GPS_DATE: dict[str, Any] = {"gps_1D": "2017:01:02", "gps_7": (3.0, 4.0, 5.0)}


@pytest.mark.parametrize(
    ("tags", "xmp", "expected", "source"),
    [
        ({"exif_9003": "2019:05:02 10:11:12", **GPS_DATE}, XMP, (2019, 5, 2, 10, 11, 12), "exif"),
        ({"exif_9003": "0000:00:00 00:00:00", **GPS_DATE}, XMP, (2018, 1, 2, 3, 4, 5), "xmp"),
        ({"main_132": "2022:01:01 00:00:00"}, XMP, (2018, 1, 2, 3, 4, 5), "xmp"),
        ({}, XMP, (2018, 1, 2, 3, 4, 5), "xmp"),
        (GPS_DATE, b"", (2017, 1, 2, 3, 4, 5), "gps"),
        ({"main_132": "2022:01:01 00:00:00"}, b"", (2022, 1, 1), "exif"),
    ],
)
def test_the_source_of_a_date_is_told(
    tags: dict[str, Any], xmp: bytes, expected: tuple[int, ...], source: str
) -> None:
    facts = decode(exif_jpeg(fill_with(**tags), xmp=xmp)).facts
    assert (facts.taken_at, facts.date_source) == (datetime(*expected), source)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_xmp_is_read_in_every_format_that_has_it(format: str) -> None:
    buffer = io.BytesIO()
    image = Image.new("RGB", (64, 64))
    if format == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        image.save(buffer, format, pnginfo=info)
    elif format == "TIFF":
        image.save(buffer, format, tiffinfo={700: XMP})
    else:
        image.save(buffer, format, xmp=XMP)
    facts = decode(buffer.getvalue()).facts
    assert (facts.taken_at, facts.date_source) == (datetime(2018, 1, 2, 3, 4, 5), "xmp")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_exif_says_the_photo_is_read(data: st.DataObject) -> None:
    block = bytearray(WHOLE_EXIF)
    for _ in range(data.draw(st.integers(1, 4))):
        block[data.draw(st.integers(8, len(block) - 1))] = data.draw(st.integers(0, 255))
    facts = decode(raw_exif_jpeg(bytes(block))).facts
    assert {facts.width, facts.height} == {96, 64}
    assert facts.latitude is None or abs(facts.latitude) <= 90
    assert facts.longitude is None or abs(facts.longitude) <= 180
    assert facts.camera is None or facts.camera.isprintable()
    assert (facts.taken_at is None) == (facts.date_source is None)


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


def whole_exif() -> bytes:
    """Return an EXIF block with a value for everything that is read."""
    exif = Image.Exif()
    fill_with(
        **{"main_112": 6, "main_10F": "Acme", "main_110": "One", "main_132": "2019:05:02 10:11:12"},
        **{"exif_9003": "2019:05:02 10:11:12", "exif_9291": "25", **GPS_DATE},
        **{"gps_1": "N", "gps_2": degrees(1, 2, 3), "gps_3": "E", "gps_4": degrees(1, 2, 3)},
    )(exif)
    return exif.tobytes().removeprefix(b"Exif\0\0")


WHOLE_EXIF = whole_exif()


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
