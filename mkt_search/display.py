"""Paths and labels as text that is safe where it goes: on a terminal, in JSON, in CSV."""

import unicodedata
from pathlib import Path

from mkt_search.paths import path_to_text

_KEPT = "\u200c\u200d"  # joiners: emoji and some scripts are made with them
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(text: str | Path) -> str:
    """Text or a path on one line that cannot steer a terminal: what is not shown is spelled out."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else _spelled(sign) for sign in text)


def _spelled(sign: str) -> str:
    if sign in _SHORT or sign in _KEPT:
        return _SHORT.get(sign, sign)
    if unicodedata.category(sign) == "Zs":  # a wide or narrow space is only a space
        return " "
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def storable(path: Path) -> str:
    """A path for JSON and CSV: its very name, or as the library keeps it where that is not text."""
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return path_to_text(path)
    return text
