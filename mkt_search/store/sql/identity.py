"""The id of the library that a database belongs to."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.sql.schema import LibraryRow
from mkt_search.store.sql.statements import insert_new


def read(session: Session) -> str | None:
    """Return the id, None while the database belongs to no library."""
    return session.scalar(select(LibraryRow.identity))


def write(session: Session, identity: str) -> None:
    """Give the database to a library, unless it belongs to one."""
    insert_new(session, LibraryRow, [{"id": 1, "identity": identity}])
