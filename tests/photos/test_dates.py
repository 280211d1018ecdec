"""Dates in texts, names and times of files: plausible ones are used, others are none."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.photos.dates import dated, gps_date, mtime_date, name_date, text_date, xmp_date
from mkt_search.types import PhotoFacts, PhotoFile


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019:05:02 10:11:12", datetime(2019, 5, 2, 10, 11, 12)),
        ("2019-05-02T10:11:12+09:00", datetime(2019, 5, 2, 10, 11, 12)),
        ("2019/5/2 1:02", datetime(2019, 5, 2, 1, 2)),
        ("2016:02:02 24:28:33", datetime(2016, 2, 2, 0, 28, 33)),  # 28 minutes after midnight
        ("2019:05:02 23:59:60", datetime(2019, 5, 3)),
        ("2019:05:02", datetime(2019, 5, 2)),
        ("2019:05:02   :  :  ", datetime(2019, 5, 2)),
        ("2019:05:02 99:99:99", datetime(2019, 5, 2)),
        ("9999:12:31 23:59:60", datetime(9999, 12, 31)),
        ("0000:00:00 00:00:00", None),
        ("2019:13:45 10:11:12", None),
        ("2019", None),
        ("    :  :     :  :  ", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_read_from_text(text: str | None, expected: datetime | None) -> None:
    assert text_date(text) == expected


@pytest.mark.parametrize(
    ("fraction", "expected"), [("25", 250_000), ("1234567", 123_456), ("x", 0)]
)
def test_a_fraction_is_the_digits_of_the_second(fraction: str, expected: int) -> None:
    found = text_date("2019:05:02 10:11:12", fraction)
    assert found is not None and found.microsecond == expected


@pytest.mark.parametrize(
    ("xmp", "expected"),
    [
        (
            '<rdf:Description exif:DateTimeOriginal="2019-05-02T10:11:12.25"/>',
            "2019-05-02 10:11:12",
        ),
        ("<xmp:CreateDate>2019-05-02</xmp:CreateDate>", "2019-05-02 00:00:00"),
        ("<photoshop:DateCreated>\n 2019-05-02T10:11Z\n<", "2019-05-02 10:11:00"),
        ("xmp:CreateDate='2020-01-01' exif:DateTimeOriginal='2019-05-02'", "2019-05-02 00:00:00"),
        ("exif:DateTimeOriginal='2019' xap:CreateDate='2019-05-02'", "2019-05-02 00:00:00"),
        ("<xmp:ModifyDate>2019-05-02</xmp:ModifyDate>", None),
        ("<xmp:CreateDate><!ENTITY", None),
        ("", None),
    ],
)
def test_the_best_date_of_xmp_is_taken(xmp: str, expected: str | None) -> None:
    found = xmp_date(xmp)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(
    ("day", "clock", "expected"),
    [
        ("2019:05:02", (10.0, 11.0, 12.5), datetime(2019, 5, 2, 10, 11, 12)),
        ("2019:05:02", None, datetime(2019, 5, 2)),
        ("2019:05:02", (float("nan"), 0, 0), datetime(2019, 5, 2)),
        ("2019:05:02", (float("inf"), 0, 0), datetime(2019, 5, 2)),
        ("2019:05:02", (1, 2), datetime(2019, 5, 2)),
        (None, (10, 11, 12), None),
    ],
)
def test_gps_has_a_day_and_a_time(
    day: str | None, clock: object, expected: datetime | None
) -> None:
    assert gps_date(day, clock) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG-20210506-WA0001.jpg", datetime(2021, 5, 6)),
        ("IMG_20210506_101112.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("IMG_20210506_101112_HDR.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("PXL_20210506_101112345.MP.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("Screenshot_2021-05-06-10-11-12.png", datetime(2021, 5, 6, 10, 11, 12)),
        ("Screenshot_20210506-101112_Maps.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("Screenshot 2021-05-06 at 10.11.12.png", datetime(2021, 5, 6, 10, 11, 12)),
        ("WhatsApp Image 2021-05-06 at 1.11.12 PM.jpeg", datetime(2021, 5, 6, 13, 11, 12)),
        ("Screen Shot 2021-05-06 at 12.11.12 AM.png", datetime(2021, 5, 6, 0, 11, 12)),
        ("photo_2021-05-06_10-11-12.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("signal-2021-05-06-101112.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("2021-05-06 10.11.12.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("20210506101112.jpg", datetime(2021, 5, 6, 10, 11, 12)),
        ("20210506_999999.jpg", datetime(2021, 5, 6)),
        ("1955.06.01 grandmother.jpg", datetime(1955, 6, 1)),
        ("12345678 20210506.jpg", datetime(2021, 5, 6)),
        ("DSC_20211301.jpg", None),
        ("DSC_0815.jpg", None),
        ("000000202105061.jpg", None),
        ("2021-0506.jpg", None),
        ("20991231_101112.jpg", None),
        ("2021.jpg", None),
    ],
)
def test_a_date_is_read_from_a_name(name: str, expected: datetime | None) -> None:
    assert name_date(name) == expected


def test_the_time_of_a_file_is_local() -> None:
    date = datetime(2019, 5, 2, 10, 11, 12)
    assert mtime_date(int(date.timestamp()) * 10**9 + 5) == date


@pytest.mark.parametrize(
    "seconds", [0, 86_400, -1, int(datetime(1980, 1, 1).timestamp()), 2**32, 2**33]
)
def test_the_time_of_a_clock_that_was_never_set_is_none(seconds: int) -> None:
    assert mtime_date(seconds * 10**9) is None


def file(name: str, mtime_ns: int = 0) -> PhotoFile:
    return PhotoFile(Path("/photos"), f"2001-01-01/{name}", Path("/photos") / name, 1, mtime_ns)


def test_a_date_of_the_photo_itself_comes_before_those_of_its_file() -> None:
    facts = PhotoFacts(1, 1, "JPEG", taken_at=datetime(2019, 5, 2), date_source="xmp")
    assert dated(facts, file("IMG_20210506.jpg")) == facts


def test_the_name_comes_before_the_time_of_the_file_and_neither_outlives_it() -> None:
    ns = int(datetime(2018, 1, 1).timestamp()) * 10**9
    by_name = dated(PhotoFacts(1, 1, "JPEG"), file("IMG_20210506.jpg", ns))
    assert (by_name.taken_at, by_name.date_source) == (datetime(2021, 5, 6), "name")
    by_time = dated(by_name, file("x.jpg", ns))
    assert (by_time.taken_at, by_time.date_source) == (datetime(2018, 1, 1), "mtime")
    assert dated(by_time, file("x.jpg")) == PhotoFacts(1, 1, "JPEG")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60), st.integers(-(2**63), 2**63 - 1))
def test_no_name_and_no_time_of_a_file_is_an_error(name: str, mtime_ns: int) -> None:
    found = dated(PhotoFacts(1, 1, "JPEG"), file(name, mtime_ns))
    assert (found.taken_at is None) == (found.date_source is None)
    tomorrow = datetime.now() + timedelta(days=1, minutes=1)
    assert found.taken_at is None or found.taken_at < tomorrow


@settings(max_examples=100, deadline=None)
@given(st.text("0123456789:-T +.\0 x\u0663", max_size=30), st.text("0123456789x", max_size=9))
def test_no_text_is_an_error(text: str, fraction: str) -> None:
    text_date(text, fraction)
    xmp_date(f"xmp:CreateDate='{text}'")
    gps_date(text, [text, fraction, 1])
