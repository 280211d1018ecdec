"""Paths as UTF-8 text for the database, reversible to the same bytes.

A file name on disk is bytes, nearly always UTF-8. Its text is the name itself, except that a
backslash is doubled and a byte that is not UTF-8 becomes `\\xNN`. Different names have different
texts.
"""

import os
import re
from pathlib import Path

BARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""Names of the files that mkt makes in a library and in a checkpoint."""

ESCAPE = re.compile(r"\\(\\|x([0-9a-f]{2}))|\\")


def bare_name(text: object) -> str:
    """Return the name of a file in a folder, after checking that it leads nowhere else.

    Every name that is read from a database or a checkpoint passes through here.

    Raises:
        ValueError: it is no text, or has a separator, "..", or a sign that mkt does not use.
    """
    if not isinstance(text, str) or not BARE_NAME.fullmatch(text):
        raise ValueError(f"{str(text)[:80]!r} is not the name of a file in its folder")
    return text


def path_to_text(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as "/"-separated text in UTF-8."""
    posix = path if isinstance(path, bytes) else os.fsencode(Path(path).as_posix())
    text = posix.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return "".join(_escaped(letter) for letter in text) if not text.isascii() else text


def text_to_path(text: str) -> Path:
    """Return the path of a text from `path_to_text`.

    Raises:
        ValueError: the text has a backslash that `path_to_text` does not write.
    """
    if "\\" not in text:
        return Path(text)
    return Path(os.fsdecode(ESCAPE.sub(_unescaped, text).encode("utf-8", "surrogateescape")))


def _escaped(letter: str) -> str:
    """Return an undecodable byte, which Python represents as a lone surrogate, as `\\xNN`."""
    byte = ord(letter) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter


def _unescaped(match: re.Match[str]) -> str:
    if match.group() == "\\":
        raise ValueError(f"not the text of a path: {match.string!r}")
    return chr(0xDC00 + int(match[2], 16)) if match[2] else "\\"
