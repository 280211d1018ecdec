"""Open the database so that a commit survives a power cut and readers never wait for the writer."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged, QueryError, SchemaOutdated, StoreError
from mkt_search.spelling import path_key
from mkt_search.store.sql import checksums
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

CANNOT_WRITE = {
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
}
FORMAT = bytes([2, 2, 0, 64, 32, 32])  # in a file's header: a WAL, no reserved bytes, constants
READ_HEADER = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read(100))"
PRIMARY_CODE = 0xFF  # of an error code of SQLite; the other bits are details

_IS_READ_ONLY = "mkt_is_read_only"  # in the `info` of a connection
WRITES = "mkt_writes"  # execution option of a connection that will write
WAITS = "mkt_waits"  # the same: whether it waits for another one that writes
ANY_NUMBER = -1  # of connections, as SQLAlchemy counts
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
            in_memory = dialect == "sqlite" and url.database in (None, "", ":memory:")
            # a search holds a connection, and may need another
            pool = {} if in_memory else {"max_overflow": ANY_NUMBER}
            engine = create_engine(url, pool_pre_ping=dialect == "postgresql", **pool)
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
        event.listen(engine, "do_connect", _connect_sqlite)
        event.listen(engine, "checkin", _forget_read_only)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def close_engine(engine: Engine) -> None:
    """Close all connections; whoever asks for another one gets a StoreError."""
    if event.contains(engine, "do_connect", _connect_sqlite):
        event.remove(engine, "do_connect", _connect_sqlite)  # the first one to answer connects
    event.listen(engine, "do_connect", _refuse)
    engine.dispose()


def _refuse(*_: Any) -> None:
    raise StoreError("The library was closed. Open it again.")


def _connect_sqlite(dialect: Dialect, record: Any, arguments: Any, options: Any) -> Any:
    """Connect for reading and writing, or for reading alone where nothing can be written."""
    try:
        return _prepared(dialect.connect(*arguments, **options))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & PRIMARY_CODE not in CANNOT_WRITE:
            raise
        try:
            connection = _connect_read_only(Path(arguments[0]))
        except sqlite3.OperationalError:
            raise error from None
    record.info[_IS_READ_ONLY] = True
    return connection


def _prepared(connection: Any) -> Any:
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # opens the WAL
    except sqlite3.Error:
        connection.close()
        raise
    return _with_functions(connection)


def _connect_read_only(file: Path) -> Any:
    """Connect to a file on a full disk, a read-only medium, or in a folder without permission.

    SQLite reads a database with a WAL only where it can write, or where another process has the
    WAL open; one without a WAL is whole, and is read as a file that nobody changes.
    """
    wal = file.with_name(f"{file.name}-wal")
    is_whole = not wal.exists() or not wal.stat().st_size
    mode = "mode=ro&immutable=1" if is_whole else "mode=ro"
    uri = f"file:{quote(os.fsencode(file))}?{mode}"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    return _with_functions(connection)


def _with_functions(connection: Any) -> Any:
    connection.isolation_level = None  # sqlite3's own BEGIN comes too late to cover a migration
    connection.create_function(PATH_KEY, 1, path_key, deterministic=True)
    checksums.define_function(connection)
    return connection


def _forget_read_only(_connection: Any, record: Any) -> None:
    """Connect again for the next transaction: a writer may have come, or the disk have room."""
    if record.info.get(_IS_READ_ONLY):
        record.invalidate()


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction; one that writes takes the write lock at once.

    SQLite fails a transaction that reads, then has to wait for another writer. Readers write too:
    they remember label vectors.
    """
    options = connection.get_execution_options()
    milliseconds = BUSY_MS if options.get(WAITS, True) else 0
    connection.exec_driver_sql(f"PRAGMA busy_timeout={milliseconds}")
    writes = options.get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    if writes:
        checksums.keep_checksums(connection)


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
        LibraryDamaged: it holds code, see `refuse_code`; or the name of its migration is none.
    """
    refuse_code(engine)
    with reading(engine) as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            raise SchemaOutdated(
                "The database holds no library yet. Run `mkt init`; or, if it has another URL, "
                "correct that under [library] in mkt.toml."
            )
        found = session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    is_name = isinstance(found, str) and re.fullmatch("[0-9]{4}", found)
    if found is not None and not is_name:
        raise LibraryDamaged(f"The database has an impossible schema ({found!r}). {WAY_OUT}")
    if found is None or found < HEAD:
        raise SchemaOutdated(
            f"The library has schema {found}, this program needs {HEAD}. Run `mkt migrate`."
        )
    if found > HEAD:
        raise SchemaOutdated(
            f"The library has schema {found}, made by a newer mkt-search; this one knows {HEAD}. "
            "Upgrade the program."
        )


@contextmanager
def reading(engine: Engine | Connection) -> Iterator[Session]:
    """Give a session for reading; all that it reads was true at one time.

    Args:
        engine: a database; or a connection that is reading, whose time the session shares.
    """
    if isinstance(engine, Connection):
        with translated(), Session(engine, join_transaction_mode="rollback_only") as session:
            yield session
        return
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


def write_back(engine: Engine) -> None:
    """Copy the log of a SQLite database into its file, as far as readers and the disk allow.

    The next commit then writes over the log. It would grow by every commit of a disk that was full
    when the last command ended, until there is no room for its bytes in the file.
    """
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        with suppress(sqlite3.Error):
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


def integrity_problems(session: Session) -> Iterator[tuple[str, str]]:
    """Yield (table or "", what is wrong) of a SQLite file; PostgreSQL checks itself."""
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        return
    for (found,) in connection.execute(text("PRAGMA integrity_check")):
        if found != "ok":
            yield "", f"the database is damaged: {found}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield row[0], f"a row of {row[0]} names one of {row[2]} that is gone"
    file = connection.engine.url.database
    if file and not _has_sound_header(Path(file)):
        yield "", "the first 100 bytes of the database have changed"
    yield from checksums.problems(session)


def _has_sound_header(file: Path) -> bool:
    """Check what SQLite itself does not, of what https://sqlite.org/fileformat.html promises.

    Another process reads the file: closing it here would drop the locks of this process on it, and
    SQLite's last connection elsewhere would then delete a WAL that is in use here.
    """
    command = (sys.executable, "-I", "-c", READ_HEADER, str(file))
    header = subprocess.run(command, capture_output=True, check=False).stdout
    is_unused_zero = not any(header[48:52] + header[64:72] + header[72:92])
    return header[18:24] == FORMAT and is_unused_zero and header[24:28] == header[92:96]


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
        if "readonly" in reason:
            raise StoreError(
                "The library can only be read: its folder or its medium cannot be written, or the "
                "disk is full."
            ) from error
        if "unable to open" in reason:
            hint = (
                " Its folder must exist and be writable; only without a WAL (mkt.db-wal) beside it "
                "can a database be read anywhere."
            )
        elif "decode" in reason or "user-defined function" in reason:
            raise _damaged(error) from error
        elif "connection" in reason:
            hint = " Start the server, or correct the URL under [library] in mkt.toml."
            reason = str(error.orig).splitlines()[0]  # PostgreSQL's advice is on further lines
        raise StoreError(f"The database cannot be used now: {reason.rstrip('.')}.{hint}") from error
    except DBAPIError as error:
        if "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise _damaged(error) from error
        reason = " ".join(str(error.orig).split())
        raise StoreError(f"The database refused a change ({reason}). {WAY_OUT}") from error


def _damaged(error: DBAPIError) -> LibraryDamaged:
    return LibraryDamaged(f"The database file is damaged ({error.orig}). {WAY_OUT}")
