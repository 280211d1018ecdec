"""Read the metadata of a photo: capture time, camera, position, orientation, from EXIF and XMP.

Thousands of programs write metadata, many of them wrongly. An implausible value counts as missing,
and nothing here raises.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from mkt_search.photos.dates import MAX_XMP_BYTES, gps_date, text_date, xmp_date
from mkt_search.types import DateSource, PhotoFacts

MAX_CAMERA_CHARACTERS = 100
UPRIGHT = 1  # the EXIF orientation of pixels stored upright
QUARTER_TURNS = range(5, 9)  # the EXIF orientations that swap width and height

XMP_TAG = 0x02BC  # of TIFF


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


def parse_exif_of(file: BinaryIO) -> Image.Exif:
    """Return the same of an open file, reading only what is asked of it."""
    exif = Image.Exif()
    try:
        exif.load_from_fp(file)
    except Exception:
        return Image.Exif()
    return exif


def read_xmp(image: Image.Image, exif: Image.Exif) -> str:
    """Return the beginning of the XMP packet of an opened image; "" if there is none."""
    packet = image.info.get("xmp") or _value(exif, XMP_TAG)
    if isinstance(packet, bytes):
        packet = packet[:MAX_XMP_BYTES].decode("utf-8", "replace")
    return packet[:MAX_XMP_BYTES] if isinstance(packet, str) else ""


def orientation(exif: Image.Exif) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or out of range."""
    value = _value(exif, Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def photo_facts(
    exif: Image.Exif, size: tuple[int, int], *, format: str, xmp: str = ""
) -> PhotoFacts:
    """Return what EXIF and XMP say about a photo.

    Args:
        exif: the EXIF block; it may be empty.
        size: (width, height) of the upright photo in pixels.
        format: as `format_of` returns it.
        xmp: the XMP packet; it may be empty.
    """
    if not len(exif) and not xmp:
        return PhotoFacts(*size, format)
    gps = _ifd(exif, IFD.GPSInfo)
    taken_at, date_source = _taken_at(exif, _ifd(exif, IFD.Exif), gps, xmp)
    latitude, longitude = _position(gps)
    return PhotoFacts(
        width=size[0],
        height=size[1],
        format=format,
        orientation=orientation(exif),
        taken_at=taken_at,
        camera=_camera(_text(_value(exif, Base.Make)), _text(_value(exif, Base.Model))),
        latitude=latitude,
        longitude=longitude,
        date_source=date_source,
    )


def _ifd(exif: Image.Exif, tag: int) -> Mapping[int, Any]:
    try:
        return exif.get_ifd(tag) if tag in exif else {}
    except Exception:
        return {}


def _value(block: Mapping[int, Any], tag: int) -> Any:
    """Return the value of a tag; None if there is none, or it cannot be decoded."""
    try:
        return block.get(tag)
    except Exception:
        return None


def _taken_at(
    exif: Image.Exif, details: Mapping[int, Any], gps: Mapping[int, Any], xmp: str
) -> tuple[datetime, DateSource] | tuple[None, None]:
    """Return the best date and its source.

    The last change that EXIF knows comes last, as editing a photo sets it.
    """

    def exif_date(block: Mapping[int, Any], tag: int, fraction: int) -> datetime | None:
        return text_date(_text(_value(block, tag)), _text(_value(details, fraction)))

    gps_day, gps_time = _text(_value(gps, GPS.GPSDateStamp)), _value(gps, GPS.GPSTimeStamp)
    candidates: Sequence[tuple[datetime | None, DateSource]] = (
        (exif_date(details, Base.DateTimeOriginal, Base.SubsecTimeOriginal), "exif"),
        (exif_date(details, Base.DateTimeDigitized, Base.SubsecTimeDigitized), "exif"),
        (xmp_date(xmp), "xmp"),
        (gps_date(gps_day, gps_time), "gps"),
        (exif_date(exif, Base.DateTime, Base.SubsecTime), "exif"),
    )
    for date, source in candidates:
        if date is not None:
            return date, source
    return None, None


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
    latitude = _degrees(gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, "NS", 90)
    longitude = _degrees(gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, "EW", 180)
    if latitude is None or longitude is None:
        return None, None
    if latitude == longitude == 0:  # a receiver without a fix writes zeros
        return None, None
    return latitude, longitude


def _degrees(
    gps: Mapping[int, Any], tag: int, reference: int, hemispheres: str, limit: int
) -> float | None:
    """Return (degrees, minutes, seconds) as signed degrees; the second hemisphere is negative.

    None if the hemisphere is missing or the result is beyond `limit`.
    """
    hemisphere = (_text(_value(gps, reference)) or " ")[0].upper()
    try:
        degrees, minutes, seconds = (float(part) for part in _value(gps, tag))
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
