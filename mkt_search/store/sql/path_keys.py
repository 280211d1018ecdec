"""`spelling.path_key` in SQL, so that a filter finds every spelling of a path."""

from typing import Any

from sqlalchemy import String, func, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from mkt_search.spelling import PLAIN, small_letters

PATH_KEY = "path_key"
"""The SQL function that every connection to SQLite is given."""


class PathKey(FunctionElement[str]):
    """The key of a path or a camera. One in ASCII may stay as it is: `ilike` ignores its case."""

    name = "path_key"
    type = String()
    inherit_cache = True


@compiles(PathKey, "sqlite")
def _in_sqlite(element: PathKey, compiler: Any, **more: Any) -> str:
    """Spare paths in ASCII the call of a Python function."""
    path = compiler.process(element.clauses, **more)
    is_ascii = f"length({path}) = length(CAST({path} AS BLOB))"
    return f"CASE WHEN {path} IS NULL OR {is_ascii} THEN {path} ELSE {PATH_KEY}({path}) END"


@compiles(PathKey, "postgresql")
def _in_postgresql(element: PathKey, compiler: Any, **more: Any) -> str:
    """Fold case by our own table: that of a server depends on its language."""
    [path] = element.clauses
    composed = func.normalize(_translated(path, PLAIN), literal_column("NFC"))
    text: str = compiler.process(_translated(composed, small_letters()), **more)
    return text


def _translated(text: Any, letters: dict[int, str | None] | dict[int, str]) -> Any:
    """Return text with letters replaced; those that become None are left out."""
    ordered = sorted(letters, key=lambda code: letters[code] is None)  # PostgreSQL drops the rest
    old = "".join(map(chr, ordered))
    new = "".join(letters[code] or "" for code in ordered)
    return func.translate(text, literal_column(f"'{old}'"), literal_column(f"'{new}'"))
