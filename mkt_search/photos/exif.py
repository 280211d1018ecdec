"""What a photo says of itself in its EXIF block: when, with what camera, where, which way up.

EXIF is written by thousands of programs and trusted by none: a value that makes no sense is taken
as absent, and nothing in here raises.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from mkt_search.types import PhotoFacts

MAX_TEXT = 100  # characters kept of a camera's name
UPRIGHT = 1  # EXIF's number for "show it as it is stored"
TURNED = range(5, 9)  # the orientations that swap width and height

_DATE = re.compile(r"\s*(\d{4})\D(\d\d?)\D(\d\d?)[\sT]+(\d\d?)\D(\d\d?)(?:\D(\d\d?))?")


def read_exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF block of an opened image; an empty one where it is missing or broken."""
    try:
        return image.getexif()
    except Exception:
        return Image.Exif()


def parse_exif(data: bytes) -> Image.Exif:
    """Return the EXIF block of a TIFF-like file (most RAW formats); empty where there is none."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except Exception:
        return Image.Exif()
    return exif


def orientation(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is missing or nonsense."""
    value = exif.get(Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def facts(exif: Image.Exif, size: tuple[int, int], *, format: str) -> PhotoFacts:
    """Gather what the file says; `size` is (width, height) of the upright image.

    `taken_at` is the wall clock where the photo was taken, always without a zone: EXIF's UTC offset
    is left out on purpose, so that all photos compare and "after 2 May" means that place's 2 May.
    """
    if not len(exif):
        return PhotoFacts(*size, format)
    latitude, longitude = _position(_ifd(exif, IFD.GPSInfo))
    return PhotoFacts(
        width=size[0],
        height=size[1],
        format=format,
        orientation=orientation(exif),
        taken_at=_taken_at(exif, _ifd(exif, IFD.Exif)),
        camera=_camera(_text(exif.get(Base.Make)), _text(exif.get(Base.Model))),
        latitude=latitude,
        longitude=longitude,
    )


def _ifd(exif: Image.Exif, tag: int) -> Mapping[int, Any]:
    if tag not in exif:
        return {}
    try:
        return exif.get_ifd(tag)
    except Exception:
        return {}


def _taken_at(exif: Image.Exif, details: Mapping[int, Any]) -> datetime | None:
    """The moment of exposure, else of digitising, else of the last change."""
    candidates: Iterable[tuple[Any, Any]] = (
        (details.get(Base.DateTimeOriginal), details.get(Base.SubsecTimeOriginal)),
        (details.get(Base.DateTimeDigitized), details.get(Base.SubsecTimeDigitized)),
        (exif.get(Base.DateTime), details.get(Base.SubsecTime)),
    )
    dates = (_date(_text(date), _text(fraction)) for date, fraction in candidates)
    return next((date for date in dates if date is not None), None)


def _date(text: str | None, fraction: str | None) -> datetime | None:
    found = _DATE.match(text or "")
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    digits = fraction if fraction and fraction.isascii() and fraction.isdigit() else ""
    try:  # 0000:00:00 is how cameras without a set clock write "unknown"
        microsecond = int(digits[:6].ljust(6, "0"))
        return datetime(year, month, day, hour, minute, second, microsecond)
    except ValueError:
        return None


def _camera(make: str | None, model: str | None) -> str | None:
    """Make and model, the make once: "NIKON CORPORATION" and "NIKON D90" are "NIKON D90"."""
    if not make or not model:
        return model or make
    if model.lower().startswith(make.split()[0].lower()):
        return model
    return f"{make} {model}"


def _position(gps: Mapping[int, Any]) -> tuple[float, float] | tuple[None, None]:
    latitude = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "NS", 90)
    longitude = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "EW", 180)
    if latitude is None or longitude is None:
        return None, None
    if latitude == longitude == 0:  # what a receiver without a fix writes
        return None, None
    return latitude, longitude


def _degrees(value: Any, reference: Any, sides: str, limit: int) -> float | None:
    """Signed degrees of (degrees, minutes, seconds); None without a hemisphere or out of range."""
    side = (_text(reference) or " ")[0].upper()
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    result = degrees + minutes / 60 + seconds / 3600
    if side not in sides or not math.isfinite(result) or abs(result) > limit:
        return None
    return -result if side == sides[1] else result


def _text(value: Any) -> str | None:
    """One line of printable text, or None. Pillow gives latin-1; newer phones write UTF-8."""
    raw = value.encode("latin-1", "replace") if isinstance(value, str) else value
    if not isinstance(raw, bytes):
        return None
    raw = raw.split(b"\0")[0]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split())[:MAX_TEXT] or None
