"""Paths as text that any database can hold, and back to the very same bytes.

A file name on disk is bytes; nearly all are UTF-8. The text of a path is the name itself, except
that a backslash becomes two and a byte that is not UTF-8 becomes `\\xNN`. So different names stay
different, and every name finds its file again.
"""

import os
import re
from pathlib import Path

ESCAPE = re.compile(r"\\(\\|x([0-9a-f]{2}))|\\")


def path_to_text(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path as "/"-separated text that can be stored and printed as UTF-8."""
    posix = path if isinstance(path, bytes) else os.fsencode(Path(path).as_posix())
    text = posix.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return "".join(_escaped(letter) for letter in text) if not text.isascii() else text


def text_to_path(text: str) -> Path:
    """Return the path `path_to_text` wrote. Raises ValueError for a backslash it never writes."""
    if "\\" not in text:
        return Path(text)
    return Path(os.fsdecode(ESCAPE.sub(_unescaped, text).encode("utf-8", "surrogateescape")))


def _escaped(letter: str) -> str:
    """Spell an undecodable byte, which Python holds as a lone surrogate, as `\\xNN`."""
    byte = ord(letter) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter


def _unescaped(match: re.Match[str]) -> str:
    if match.group() == "\\":
        raise ValueError(f"not the text of a path: {match.string!r}")
    return chr(0xDC00 + int(match[2], 16)) if match[2] else "\\"
