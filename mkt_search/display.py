"""Values as text for people and files: paths, labels, counts, sizes and times."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mkt_search.paths import path_to_text

_JOINERS = "\u200c\u200d"  # joiners, which emoji and some scripts need
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
NAMES_SHOWN = 5  # labels or photos that a message names before it stops


def printable(text: str | Path) -> str:
    """Return text on one line that cannot control a terminal; other characters are escaped."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char in _ESCAPES or char in _JOINERS:
        return _ESCAPES.get(char, char)
    if unicodedata.category(char) == "Zs":  # wide and narrow spaces
        return " "
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def path_as_text(path: Path) -> str:
    """Return a path for JSON and CSV; one that is not UTF-8 is escaped as in the library."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return path_to_text(path)
    return text


def count_noun(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 photo`, `12,408 photos`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def first_few(names: Sequence[str]) -> str:
    """Return the first few names as text, and how many more there are."""
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")


def byte_size(count: int) -> str:
    """Return a number of bytes in decimal units: `8.3 KB`, `1.2 GB`."""
    size, unit = float(count), "bytes"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{size:,.1f} {unit}"


def duration(seconds: float) -> str:
    """Return a time span in words: `8 s`, `3 min 12 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def local_time(utc: datetime) -> str:
    """Return a naive UTC time as local time: `2024-05-17 14:30`."""
    return f"{utc.replace(tzinfo=UTC).astimezone():%Y-%m-%d %H:%M}"
