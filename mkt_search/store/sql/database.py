"""Open the database so that a commit survives a power cut and readers never wait for the writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged, QueryError, SchemaOutdated, StoreError
from mkt_search.spelling import path_key
from mkt_search.store.sql.columns import WAY_OUT
from mkt_search.store.sql.path_keys import PATH_KEY
from mkt_search.store.sql.schema import HEAD

PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",  # a library may come from somebody else
    "PRAGMA cell_size_check=ON",
)
BUSY_MS = 30_000  # for another transaction of a writer, and for SQLite's own short locks
NO_WAIT_MS = 1  # PostgreSQL takes 0 for "wait forever"

WRITES = "mkt_writes"  # execution option of a connection that will write
WAITS = "mkt_waits"  # the same: whether it waits for another one that writes
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


def sqlite_url(file: Path) -> URL:
    """Return the URL of a file, whatever signs its name has."""
    return URL.create("sqlite", database=str(file.resolve()))


def sqlite_file(engine: Engine) -> Path | None:
    """Return the real path of a SQLite database, None for one on a server or in memory."""
    if engine.dialect.name != "sqlite" or engine.url.database in (None, "", ":memory:"):
        return None
    return Path(engine.url.database or "").resolve()


def open_engine(url: str | URL) -> Engine:
    """Return an engine for a SQLite or PostgreSQL URL.

    SQLite gets WAL, foreign keys and transactions that cover DDL. PostgreSQL is used through
    psycopg 3.

    Raises:
        StoreError: the URL cannot be used, names another database, or its driver is missing.
    """
    try:
        url = make_url(url)
        url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
        dialect = url.get_dialect().name
        if dialect in ("sqlite", "postgresql"):
            engine = create_engine(url, pool_pre_ping=dialect == "postgresql")
    except (ArgumentError, ImportError) as problem:
        raise StoreError(
            f"The database URL cannot be used ({problem}). Correct it under [library] in mkt.toml "
            'or in --database; PostgreSQL needs `pip install "mkt-search[postgres]"`.'
        ) from problem
    if dialect not in ("sqlite", "postgresql"):
        raise StoreError(
            f"The database URL names {dialect}, but a library is kept in SQLite or PostgreSQL: "
            "leave the URL out, or write postgresql+psycopg://USER@HOST/NAME."
        )
    if dialect == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def close_engine(engine: Engine) -> None:
    """Close all connections; whoever asks for another one gets a StoreError."""
    event.listen(engine, "do_connect", _refuse)
    engine.dispose()


def _refuse(*_: Any) -> None:
    raise StoreError("The library was closed. Open it again.")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # sqlite3's own BEGIN comes too late to cover a migration
    for pragma in PRAGMAS:
        connection.execute(pragma)
    connection.create_function(PATH_KEY, 1, path_key, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction; one that writes takes the write lock at once.

    SQLite fails a transaction that reads, then has to wait for another writer. Readers write too:
    they remember label vectors.
    """
    options = connection.get_execution_options()
    milliseconds = BUSY_MS if options.get(WAITS, True) else 0
    connection.exec_driver_sql(f"PRAGMA busy_timeout={milliseconds}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(WRITES, False) else "BEGIN")


def is_empty(engine: Engine) -> bool:
    """Return True for a database without any table of a library."""
    with reading(engine) as session:
        return not inspect(session.connection()).has_table("alembic_version")


def refuse_code(engine: Engine) -> None:
    """Raise LibraryDamaged for triggers, views and virtual tables in a SQLite file.

    No version of mkt makes any, and they would act on every read and write.
    """
    if engine.dialect.name != "sqlite":
        return
    query = text(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view')"
        " OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1"
    )
    with reading(engine) as session:
        found = session.execute(query).first()
    if found is not None:
        kind = "virtual table" if found[0] == "table" else found[0]
        raise LibraryDamaged(
            f"The database has the {kind} {str(found[1])[:80]!r}, which no version of mkt makes. "
            f"{WAY_OUT}"
        )


def check_schema(engine: Engine) -> None:
    """Check that the database is at the migration this code was written for.

    Raises:
        SchemaOutdated: it is at another one.
        LibraryDamaged: it holds code, see `refuse_code`.
    """
    refuse_code(engine)
    with reading(engine) as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            raise SchemaOutdated(
                "The database holds no library yet. Run `mkt init`; or, if it has another URL, "
                "correct that under [library] in mkt.toml."
            )
        found = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if found is None or str(found) < HEAD:
        raise SchemaOutdated(
            f"The library has schema {found}, this program needs {HEAD}. Run `mkt migrate`."
        )
    if found > HEAD:
        raise SchemaOutdated(
            f"The library has schema {found}, made by a newer mkt-search; this one knows {HEAD}. "
            "Upgrade the program."
        )


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Give a session for reading; all that it reads was true at one time."""
    if engine.dialect.name == "postgresql":  # a transaction of SQLite always is a snapshot
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with translated(), Session(engine) as session:
        yield session


@contextmanager
def transaction(engine: Engine, *, wait: bool = True) -> Iterator[Session]:
    """Give a session whose changes are committed together at the end, or not at all.

    Args:
        engine: the database.
        wait: wait for other transactions that write; False is for readers.

    Raises:
        StoreError: the database cannot be written, or without `wait` not now.
    """
    writer = engine.execution_options(**{WRITES: True, WAITS: wait})
    with translated(), Session(writer, expire_on_commit=False) as session, session.begin():
        if not wait and engine.dialect.name == "postgresql":
            session.execute(text(f"SET LOCAL lock_timeout = {NO_WAIT_MS}"))
        yield session


def size_of_tables(session: Session) -> int:
    """Return the bytes of all tables in PostgreSQL; 0 in SQLite, which is a file."""
    connection = session.connection()
    if connection.dialect.name != "postgresql":
        return 0
    query = text(
        "SELECT sum(pg_total_relation_size(quote_ident(tablename)::regclass)) FROM pg_tables"
        " WHERE schemaname = current_schema()"
    )
    return int(connection.scalar(query) or 0)


def integrity_problems(session: Session) -> Iterator[str]:
    """Yield what is wrong with a SQLite file; PostgreSQL checks itself."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        return
    for (found,) in connection.execute(text("PRAGMA integrity_check")):
        if found != "ok":
            yield f"the database is damaged: {found}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"a row of {row[0]} names one of {row[2]} that is gone"


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of the database into errors of the store."""
    try:
        yield
    except OverflowError as error:  # of a number in a filter
        raise QueryError("A number is too large for the database; give a smaller one.") from error
    except OperationalError as error:
        reason = " ".join(str(error.orig).split())
        if "full" in reason or "No space left" in reason:
            raise StoreError(
                "The disk with the database is full; what was committed before is safe. "
                "Free some space and run the command again."
            ) from error
        hint = ""
        if "unable to open" in reason:
            hint = " Its folder must exist and be writable, even to read (SQLite's WAL)."
        elif "connection" in reason:
            hint = " Start the server, or correct the URL under [library] in mkt.toml."
            reason = str(error.orig).splitlines()[0]  # PostgreSQL's advice is on further lines
        raise StoreError(f"The database cannot be used now: {reason.rstrip('.')}.{hint}") from error
    except DBAPIError as error:
        if "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise LibraryDamaged(
                f"The database file is damaged ({error.orig}). {WAY_OUT}"
            ) from error
        reason = " ".join(str(error.orig).split())
        raise StoreError(f"The database refused a change ({reason}). {WAY_OUT}") from error
