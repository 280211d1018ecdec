"""The write lock in a database on a server, where writers may be on other machines.

A lock of the session, which the server frees when its connection ends, however that ends. A SQLite
file needs none: the lock of the library's folder keeps writers out.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from mkt_search.locks import LockHeld, describe_process
from mkt_search.store.sql.database import reading, translated

KEY = "hashtextextended('mkt-search ' || current_schema(), 0)"  # a library is one schema
TRY, FREE = (text(f"SELECT pg_{name}({KEY})") for name in ("try_advisory_lock", "advisory_unlock"))
NAME = text("SELECT set_config('application_name', left(:name, 63), false)")
KEEP_ALIVE = text("SET tcp_keepalives_idle = 60")  # seconds until a vanished machine is noticed
HOLDER = text(
    "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND (classid::bigint << 32 | objid::bigint) = {KEY}"
)


@contextmanager
def hold(engine: Engine, purpose: str) -> Iterator[None]:
    """Keep other writers out of a database while the block runs.

    Args:
        engine: the database.
        purpose: what the holder does, for the error message of others: a command.

    Raises:
        LockHeld: another process holds the lock.
        StoreError: the server cannot be reached.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    with translated():
        connection = engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        connection.detach()  # its session ends with the block
    with connection:
        with translated():
            is_free = _try(connection, purpose)
        if not is_free:
            raise LockHeld(holder(engine) or "another process")
        try:
            yield
        finally:
            with suppress(DBAPIError):  # the server has freed it if the connection is gone
                connection.execute(FREE)


def holder(engine: Engine) -> str | None:
    """Return who writes to a database on a server now, None when nobody does."""
    if engine.dialect.name != "postgresql":
        return None
    with reading(engine) as session:
        names = session.scalars(HOLDER).all()
    return (names[0] or "another process") if names else None


def _try(connection: Connection, purpose: str) -> bool:
    connection.execute(NAME, {"name": describe_process(purpose)})
    connection.execute(KEEP_ALIVE)
    return bool(connection.scalar(TRY))
