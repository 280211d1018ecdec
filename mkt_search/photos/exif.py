"""Read the EXIF block of a photo: capture time, camera, position, orientation.

Thousands of programs write EXIF, many of them wrongly. An implausible value counts as missing, and
nothing here raises.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from mkt_search.types import PhotoFacts

MAX_CAMERA_CHARACTERS = 100
UPRIGHT = 1  # the EXIF orientation of pixels stored upright
QUARTER_TURNS = range(5, 9)  # the EXIF orientations that swap width and height

_DATE = re.compile(r"\s*(\d{4})\D(\d\d?)\D(\d\d?)[\sT]+(\d\d?)\D(\d\d?)(?:\D(\d\d?))?")


def read_exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF block of an opened image; empty if it is missing or broken."""
    try:
        return image.getexif()
    except Exception:
        return Image.Exif()


def parse_exif(data: bytes) -> Image.Exif:
    """Return the EXIF block of a TIFF-like file (most RAW formats); empty if there is none."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except Exception:
        return Image.Exif()
    return exif


def orientation(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or out of range."""
    value = exif.get(Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def photo_facts(exif: Image.Exif, size: tuple[int, int], *, format: str) -> PhotoFacts:
    """Return what EXIF says about a photo.

    `taken_at` is the local wall-clock time of the exposure, always without a zone. EXIF's UTC
    offset is dropped on purpose: photos with and without one compare, and "after 2 May" means
    2 May where the photo was taken.

    Args:
        exif: the EXIF block; it may be empty.
        size: (width, height) of the upright photo in pixels.
        format: as `format_of` returns it.
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
    """Return the first valid time of: exposure, digitization, last change."""
    candidates: Iterable[tuple[Any, Any]] = (
        (details.get(Base.DateTimeOriginal), details.get(Base.SubsecTimeOriginal)),
        (details.get(Base.DateTimeDigitized), details.get(Base.SubsecTimeDigitized)),
        (exif.get(Base.DateTime), details.get(Base.SubsecTime)),
    )
    dates = (_date(_text(date), _text(fraction)) for date, fraction in candidates)
    return next((date for date in dates if date is not None), None)


def _date(text: str | None, fraction: str | None) -> datetime | None:
    match = _DATE.match(text or "")
    if not match:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    digits = fraction if fraction and fraction.isascii() and fraction.isdigit() else ""
    try:  # cameras whose clock was never set write 0000:00:00
        microsecond = int(digits[:6].ljust(6, "0"))
        return datetime(year, month, day, hour, minute, second, microsecond)
    except ValueError:
        return None


def _camera(make: str | None, model: str | None) -> str | None:
    """Join make and model without repeating the make.

    "NIKON CORPORATION" and "NIKON D90" become "NIKON D90".
    """
    if not make or not model:
        return model or make
    if model.lower().startswith(make.split()[0].lower()):
        return model
    return f"{make} {model}"


def _position(gps: Mapping[int, Any]) -> tuple[float, float] | tuple[None, None]:
    """Return latitude and longitude in signed degrees, both or neither."""
    latitude = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "NS", 90)
    longitude = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "EW", 180)
    if latitude is None or longitude is None:
        return None, None
    if latitude == longitude == 0:  # a receiver without a fix writes zeros
        return None, None
    return latitude, longitude


def _degrees(value: Any, reference: Any, hemispheres: str, limit: int) -> float | None:
    """Return (degrees, minutes, seconds) as signed degrees; the second hemisphere is negative.

    None if the hemisphere is missing or the result is beyond `limit`.
    """
    hemisphere = (_text(reference) or " ")[0].upper()
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    result = degrees + minutes / 60 + seconds / 3600
    if hemisphere not in hemispheres or not math.isfinite(result) or abs(result) > limit:
        return None
    return -result if hemisphere == hemispheres[1] else result


def _text(value: Any) -> str | None:
    """Return one line of printable text, or None.

    Pillow decodes EXIF text as latin-1, but newer phones write UTF-8.
    """
    raw = value.encode("latin-1", "replace") if isinstance(value, str) else value
    if not isinstance(raw, bytes):
        return None
    raw = raw.split(b"\0")[0]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MAX_CAMERA_CHARACTERS] or None
