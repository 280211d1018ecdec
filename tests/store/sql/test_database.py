"""The database: how SQLite is opened, which URLs are taken, and errors as sentences."""

from pathlib import Path

import pytest
from sqlalchemy import text

from mkt_search.errors import LibraryDamaged, StoreError
from mkt_search.store.sql.database import open_engine, reading, transaction


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
    with pytest.raises(StoreError, match="Its folder must exist and be writable"):
        with reading(engine) as session:
            session.execute(text("SELECT 1"))
    engine.dispose()
