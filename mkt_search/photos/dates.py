"""When a photo was taken: the dates in EXIF, XMP and GPS, in a file's name, and its own time.

All are local wall-clock times without a zone. UTC offsets are dropped on purpose: photos with and
without one compare, and "after 2 May" means 2 May where the photo was taken. The dates of GPS, and
of the file names of some phones, are UTC and may be a day off.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from mkt_search.types import DateSource, PhotoFacts, PhotoFile

FILE_SOURCES: tuple[DateSource, ...] = ("name", "mtime")
"""Sources of a date that is not in the photo itself."""

FIRST_FILE_DAY = datetime(1980, 1, 2)
"""Earlier times of files are those of clocks that were never set: 1970 in Unix, 1980 in FAT."""

MAX_XMP_BYTES = 1_000_000  # dates come early; the rest may be thumbnails or the history of edits

_TEXT = re.compile(
    r"\s*(\d{4})\D(\d\d?)\D(\d\d?)(?:[\sT]+(\d\d?)\D(\d\d?)(?:\D(\d\d?))?)?", re.ASCII
)
_XMP_NAMES = (  # best first
    "exif:DateTimeOriginal",
    "photoshop:DateCreated",
    "exif:DateTimeDigitized",
    "(?:xmp|xap):CreateDate",
)
_XMP = [re.compile(rf"\b{name}(?:\s*=\s*[\"']|\s*>)([^<\"']{{1,40}})") for name in _XMP_NAMES]
_NAME = re.compile(
    r"""
    (?<!\d) ((?:19|20)\d\d) ([-_.]?) (\d\d) \2 (\d\d)
    (?: (?:\ at\ |[-_\ T])? (?: (\d\d)(\d\d)(\d\d) | (\d\d?)[-_.:](\d\d)[-_.:](\d\d) )
        \d{0,3} (?:\ ?([AP])M)? )?
    (?!\d)
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def text_date(text: str | None, fraction: str | None = None) -> datetime | None:
    """Return the date in the text of EXIF or XMP, at midnight if it has no time.

    Args:
        text: such as `2019:05:02 10:11:12` or `2019-05-02T10:11:12+02:00`.
        fraction: the digits of the second after the point.
    """
    match = _TEXT.match(text or "")
    if not match:
        return None
    digits = fraction if fraction and fraction.isascii() and fraction.isdigit() else ""
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    return _moment(year, month, day, hour, minute, second, int(digits[:6].ljust(6, "0")))


def xmp_date(xmp: str) -> datetime | None:
    """Return the best date in an XMP packet; it is searched as text, not parsed as XML."""
    matches = (match for pattern in _XMP for match in pattern.finditer(xmp))
    dates = (text_date(match[1]) for match in matches)
    return next((date for date in dates if date is not None), None)


def gps_date(day: str | None, time: Any) -> datetime | None:
    """Return the date of GPS, from its day as text and its hour, minute and second as numbers."""
    date = text_date(day)
    if date is None:
        return None
    try:
        hour, minute, second = (int(float(part)) for part in time)
    except (TypeError, ValueError, ArithmeticError):
        return date
    return _moment(date.year, date.month, date.day, hour, minute, second)


def name_date(name: str) -> datetime | None:
    """Return the date in a file's name, as phones, messengers and screenshots write it.

    It has year, month and day in this order, in digits: `IMG-20210506-WA0001.jpg`,
    `Screenshot_2021-05-06-10-11-12.png`, `PXL_20210506_101112345.jpg`. A date after tomorrow is
    another number.
    """
    for match in _NAME.finditer(name):
        year, _, month, day, *times, half = match.groups()
        hour, minute, second = (int(part or 0) for part in (times[:3] if times[0] else times[3:]))
        if half and 1 <= hour <= 12:
            hour = hour % 12 + (12 if half in "Pp" else 0)
        date = _moment(int(year), int(month), int(day), hour, minute, second)
        if date is not None and _is_past(date):
            return date
    return None


def mtime_date(mtime_ns: int) -> datetime | None:
    """Return the local time at which a file was changed last, None if it is not plausible."""
    try:
        date = datetime.fromtimestamp(mtime_ns // 1_000_000_000)
    except (ValueError, OverflowError, OSError):
        return None
    return date if date >= FIRST_FILE_DAY and _is_past(date) else None


def dated(facts: PhotoFacts, file: PhotoFile) -> PhotoFacts:
    """Return the facts of a photo with a date from its file, if it has none of its own."""
    if facts.taken_at is not None and facts.date_source not in FILE_SOURCES:
        return facts
    candidates: Sequence[tuple[datetime | None, DateSource]] = (
        (name_date(file.path.rpartition("/")[2]), "name"),
        (mtime_date(file.mtime_ns), "mtime"),
    )
    for date, source in candidates:
        if date is not None:
            return replace(facts, taken_at=date, date_source=source)
    return replace(facts, taken_at=None, date_source=None)


def _moment(
    year: int,
    month: int,
    day: int,
    hour: int = 0,
    minute: int = 0,
    second: int = 0,
    microsecond: int = 0,
) -> datetime | None:
    """Return a date and time; midnight if the time is not valid, None if the date is not.

    Hour 24 is the first of the same day: some phones count hours from 1 to 24. Second 60 is the
    next minute.
    """
    try:
        midnight = datetime(year, month, day)
    except ValueError:  # cameras whose clock was never set write 0000:00:00
        return None
    if not (0 <= hour <= 24 and 0 <= minute <= 59 and 0 <= second <= 60):
        return midnight
    time = timedelta(hours=hour % 24, minutes=minute, seconds=second, microseconds=microsecond)
    try:
        return midnight + time
    except OverflowError:  # the last second of the year 9999
        return midnight


def _is_past(date: datetime) -> bool:
    return date <= datetime.now() + timedelta(days=1)
