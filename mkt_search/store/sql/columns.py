"""Types of columns that check what they read: here values of a database become objects.

SQLite keeps a value of any kind in any column, and a library may come from somebody else.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Integer,
    LargeBinary,
    String,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from mkt_search.errors import LibraryDamaged
from mkt_search.paths import bare_name, text_to_path
from mkt_search.portable import IS_WINDOWS, leads_out

WAY_OUT = "Restore mkt.db from a backup, or move the library's folder away and index again."
SHA256_BYTES = 32
SHORTEST_SIDE = 8  # pixels, of a miniature


def impossible(what: object) -> LibraryDamaged:
    """Return the error for a value that no version of mkt writes."""
    return LibraryDamaged(f"The database has an impossible value ({what}). {WAY_OUT}")


class Checked(TypeDecorator[Any]):
    """A column whose values are None or of one type, and pass a further check.

    Args:
        impl: the type for the database.
        kind: the type in Python.
        check: raises ValueError for a value that is not allowed.
    """

    impl: Any = String
    cache_ok = True

    def __init__(
        self,
        impl: TypeEngine[Any],
        kind: type[Any],
        check: Callable[[Any], object] | None = None,
    ) -> None:
        super().__init__()
        self.impl = impl
        self.kind = kind
        self.check = check

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:
        """Return the function that checks a value of a row. It raises LibraryDamaged."""
        read = self.impl_instance.result_processor(dialect, coltype)
        kind, check = self.kind, self.check

        def checked(value: Any) -> Any:
            if value is None:
                return None
            try:
                found = read(value) if read else value
                if found is None:  # the JSON null
                    return None
                if type(found) is not kind:
                    raise ValueError(f"{str(found)[:40]!r} is not of the kind {kind.__name__}")
                if check:
                    check(found)
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise impossible(error) from error
            return found

        return checked


def _is_sha256(value: bytes) -> None:
    if len(value) != SHA256_BYTES:
        raise ValueError(f"{len(value)} bytes are no SHA-256")


def _is_path(value: str) -> None:
    if "\0" in value:
        raise ValueError("a path has a NUL")
    text_to_path(value)


def _is_path_below(value: str) -> None:
    _is_path(value)
    is_outside = value.startswith("/") or ".." in value.split("/")
    if is_outside or (IS_WINDOWS and leads_out(text_to_path(value))):
        raise ValueError(f"the path {value[:80]!r} leads out of its folder")


def _is_side(value: int) -> None:
    if value < 1:
        raise ValueError(f"a photo with a side of {value} pixels")


def _is_miniature(value: bytes) -> None:
    sides = value[:2]
    if len(sides) < 2 or min(sides) < SHORTEST_SIDE or len(value) != 2 + sides[0] * sides[1]:
        raise ValueError(f"{len(value)} bytes are no miniature")


_BYTEWISE = String().with_variant(String(collation="C"), "postgresql")

Whole = Checked(Integer(), int)
Big = Checked(BigInteger(), int)
Number = Checked(Double(), float)
Text = Checked(String(), str)
Bytes = Checked(LargeBinary(), bytes)
Time = Checked(DateTime(), datetime)

BytewiseText = Checked(_BYTEWISE, str)
"""Text that PostgreSQL treats as SQLite does: ordered by bytes, case folded from A to Z only."""

FolderPath = Checked(_BYTEWISE, str, _is_path)
"""A path, as text from `path_to_text`."""

PathBelow = Checked(_BYTEWISE, str, _is_path_below)
"""A path relative to a folder, which does not lead out of it."""

FileName = Checked(String(), str, bare_name)
"""The name of a file in a folder of the library."""

Side = Checked(Integer(), int, _is_side)
"""A width or height in pixels."""

Miniature = Checked(LargeBinary(), bytes, _is_miniature)
"""An image as `photos.miniature` makes it."""

Sha256 = Checked(LargeBinary(SHA256_BYTES), bytes, _is_sha256)
Data = Checked(JSON(), dict)
DataOrNull = Checked(JSON(none_as_null=True), dict)
