"""The database: how SQLite is opened, which URLs are taken, and errors as sentences."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from mkt_search.errors import LibraryDamaged, StoreError
from mkt_search.store.sql.database import open_engine, reading, sqlite_url, transaction
from mkt_search.store.sql.schema import Base, Root

STRANGER = 65_534  # the id of a user without rights
posix = pytest.mark.skipif(os.name != "posix", reason="needs permissions of POSIX")


def test_sqlite_runs_with_wal_foreign_keys_and_full_sync(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        values = [
            connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous")
        ]
    assert values == ["wal", 1, 2]
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql://host/name", "postgres://host/name"])
def test_postgresql_is_used_through_psycopg(url: str) -> None:
    engine = open_engine(url)
    assert engine.url.drivername == "postgresql+psycopg"
    engine.dispose()


@pytest.mark.parametrize("url", ["mysql://host/name", "oracle://host/name", "mssql://host/name"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"kept in SQLite or PostgreSQL: .*postgresql\+psycopg"):
        open_engine(url)


@pytest.mark.parametrize("url", ["nonsense", "nonsense://here"])
def test_a_url_that_means_nothing_is_a_sentence(url: str) -> None:
    with pytest.raises(StoreError, match="The database URL cannot be used"):
        open_engine(url)


def test_a_server_that_does_not_answer_is_a_sentence_of_one_line(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    engine = open_engine(f"postgresql://user:secret@/name?host={tmp_path}")
    with pytest.raises(StoreError, match=r"now: .*Start the server, or correct") as problem:
        with reading(engine) as session:
            session.execute(text("SELECT 1"))
    assert "\n" not in str(problem.value) and "secret" not in str(problem.value)
    engine.dispose()


def test_a_damaged_file_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"garbage" * 100)
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(LibraryDamaged, match=r"Restore mkt\.db from a backup"):
        with transaction(engine) as session:
            session.execute(text("CREATE TABLE a (b)"))
    engine.dispose()


def test_a_file_in_no_folder_names_what_it_needs(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'no' / 'a.db'}")
    with pytest.raises(StoreError, match="Its folder must exist"):
        with reading(engine) as session:
            session.execute(text("SELECT 1"))
    engine.dispose()


@pytest.fixture
def file() -> Iterator[Path]:
    """A database with one root, in a folder that any user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    engine = open_engine(sqlite_url(folder / "what? 100%25.db"))
    Base.metadata.create_all(engine)
    with transaction(engine) as session:
        session.add(Root(path="/photos"))
    engine.dispose()
    yield folder / "what? 100%25.db"
    shutil.rmtree(folder)


@contextmanager
def without_permission(file: Path) -> Iterator[None]:
    """Take away the right to write a file and its folder, from the superuser too."""
    is_superuser = os.geteuid() == 0
    file.parent.chmod(0o555)
    file.chmod(0o444)
    if is_superuser:
        os.seteuid(STRANGER)
    try:
        yield
    finally:
        if is_superuser:
            os.seteuid(0)
        file.parent.chmod(0o755)
        file.chmod(0o644)


def roots(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return list(session.scalars(select(Root.path).order_by(Root.id)))


def add_root(engine: Engine, path: str) -> None:
    with transaction(engine) as session:
        session.add(Root(path=path))


@posix
def test_where_nothing_can_be_written_a_whole_database_is_read(file: Path) -> None:
    engine = open_engine(sqlite_url(file))
    with without_permission(file):
        assert roots(engine) == ["/photos"]
        with pytest.raises(StoreError, match="can only be read"):
            add_root(engine, "/more")
    add_root(engine, "/more")
    assert roots(engine) == ["/photos", "/more"]
    engine.dispose()


@posix
def test_what_a_writer_has_open_is_read_without_permission_too(file: Path) -> None:
    writer, reader = (open_engine(sqlite_url(file)) for _ in range(2))
    add_root(writer, "/more")
    with without_permission(file):
        assert roots(reader) == ["/photos", "/more"]
    writer.dispose()
    reader.dispose()


@posix
def test_what_a_kill_left_in_a_wal_is_never_passed_over(file: Path) -> None:
    writer = open_engine(sqlite_url(file))
    add_root(writer, "/more")
    wal = file.with_name(f"{file.name}-wal").read_bytes()
    database = file.read_bytes()
    writer.dispose()
    file.write_bytes(database)
    file.with_name(f"{file.name}-wal").write_bytes(wal)
    engine = open_engine(sqlite_url(file))
    with without_permission(file), pytest.raises(StoreError, match="without a WAL"):
        roots(engine)
    assert roots(engine) == ["/photos", "/more"]
    engine.dispose()
