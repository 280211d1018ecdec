"""The id of a library, which its database has and, if that lies elsewhere, its folder too.

A database in the library's folder is the folder's. One elsewhere, on a server or in another SQLite
file, could be named by the settings of two folders; each would then miss the other's segments. By
the id a database knows its folder.
"""

import uuid
from pathlib import Path

from mkt_search.files import read_bytes, write_atomically

FILE = "library.id"


def new() -> str:
    """Return an id that is unlike every other."""
    return uuid.uuid4().hex


def read(directory: Path) -> str | None:
    """Return the id that a library's folder has, None if it has none that can be read."""
    try:
        return read_bytes(directory / FILE).decode().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def write(directory: Path, identity: str) -> None:
    """Give a library's folder an id. Raises OSError."""
    write_atomically(directory / FILE, f"{identity}\n")
