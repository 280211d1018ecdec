"""What several queries need: lists in pieces, the time, inserts that leave out known keys."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from mkt_search.store.sql.schema import Base

T = TypeVar("T")

VALUES_PER_LIST = 500
"""Values in one IN (...). SQLite allows 32,766; PostgreSQL plans short lists better."""


def in_pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut values into pieces for IN (...)."""
    return (values[i : i + VALUES_PER_LIST] for i in range(0, len(values), VALUES_PER_LIST))


def now() -> datetime:
    """Return the time, UTC without a zone, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def insert_new(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, leaving out those whose key is there already."""
    connection = session.connection()
    statement: Any
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects import sqlite

        statement = sqlite.insert(table).on_conflict_do_nothing()
    connection.execute(statement, rows)
