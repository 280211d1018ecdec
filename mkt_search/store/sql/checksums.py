"""A checksum in every row of a SQLite database, because SQLite keeps none.

Triggers set the column `checksum` whenever a row is inserted or changed. They belong to the
connections of this program and not to the file, so that other tools can read and change it; a row
that one of them changed no longer has its checksum. PostgreSQL has checksums of its own, of pages:
there the column is NULL and no row is suspected.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from typing import Any, TypeVar

from sqlalchemy import Boolean, ColumnElement, Connection, FromClause, func, select, text, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from mkt_search.errors import LibraryDamaged
from mkt_search.store.sql.schema import Base

T = TypeVar("T")

FUNCTION = "mkt_checksum"
COLUMN = "checksum"
TABLES = Base.metadata.sorted_tables
MAX_SQL_FUNCTION_VALUES = -1  # any number

_HAS_TRIGGERS = "mkt_has_triggers"  # in a connection's `info`


def checksum(*values: Any) -> int:
    """Return the CRC-32 of values as SQLite keeps them: None, int, float, str and bytes."""
    return zlib.crc32(ascii(values).encode("ascii"))


def define_function(connection: sqlite3.Connection) -> None:
    """Make `checksum` a function of SQL."""
    connection.create_function(FUNCTION, MAX_SQL_FUNCTION_VALUES, checksum, deterministic=True)


def keep_checksums(connection: Connection) -> None:
    """Add the triggers to a SQLite connection, unless it has them."""
    if connection.info.setdefault(_HAS_TRIGGERS, False):
        return
    for table in TABLES:
        names = [column.name for column in _data(table)]
        new = ", ".join(f'NEW."{name}"' for name in names)
        columns = ", ".join(f'"{name}"' for name in names)
        for event in ("INSERT", f"UPDATE OF {columns}"):
            connection.exec_driver_sql(
                f"CREATE TEMP TRIGGER mkt_{event[:6]}_{table.name} AFTER {event}"
                f" ON main.{table.name} BEGIN UPDATE {table.name}"
                f" SET {COLUMN} = {FUNCTION}({new}) WHERE rowid = NEW.rowid; END"
            )
    connection.info[_HAS_TRIGGERS] = True


class is_sound(FunctionElement[bool]):
    """Whether a row of a table has its checksum; always true in PostgreSQL."""

    type = Boolean()
    inherit_cache = True

    def __init__(self, table: FromClause) -> None:
        super().__init__(table.c[COLUMN], *_data(table))


@compiles(is_sound)
def _always(element: is_sound, compiler: Any, **kw: Any) -> str:
    return "true"


@compiles(is_sound, "sqlite")
def _compare(element: is_sound, compiler: Any, **kw: Any) -> str:
    kept, *values = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({kept} IS {FUNCTION}({', '.join(values)}))"


def checked(row: T, sound: bool, what: str) -> T:
    """Return what was read of a row. Raises LibraryDamaged if the row lacks its checksum."""
    if not sound:
        raise LibraryDamaged(
            f"What the database says of {what} has changed since it was written. Restore mkt.db "
            "from a backup, or move the library's folder away and index again."
        )
    return row


def set_all(connection: Connection) -> None:
    """Give every row its checksum: what is in the database now counts as right."""
    if connection.dialect.name != "sqlite":
        return
    for table in TABLES:
        connection.execute(update(table).values({COLUMN: getattr(func, FUNCTION)(*_data(table))}))
    connection.exec_driver_sql(f"PRAGMA user_version = {_checksum_of_schema(connection)}")


def problems(session: Session) -> Iterator[tuple[str, str]]:
    """Yield (table, what is wrong) for tables with rows that were changed behind the program."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        return
    if connection.scalar(text("PRAGMA user_version")) != _checksum_of_schema(connection):
        yield "", "the definition of a table or an index has changed"
    for table in TABLES:
        wrong = select(func.count()).select_from(table).where(~is_sound(table))
        if changed := connection.scalar(wrong):
            yield table.name, f"rows of {table.name} that have changed: {changed:,}"


def _checksum_of_schema(connection: Connection) -> int:
    """Return the checksum of what SQLite knows of tables and indexes, as a signed number."""
    rows = connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    found = checksum(*sorted(tuple(map(str, row)) for row in rows))
    return int.from_bytes(found.to_bytes(4, "big"), "big", signed=True)


def _data(table: FromClause) -> list[ColumnElement[Any]]:
    return [column for column in table.c if column.name != COLUMN]
