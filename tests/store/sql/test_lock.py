"""The write lock in a database on a server."""

import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from mkt_search.errors import LibraryLocked
from mkt_search.locks import LockHeld
from mkt_search.store.sql import lock
from mkt_search.store.sql.database import open_engine
from mkt_search.store.status import status
from mkt_search.store.store import Store
from tests.postgres import PostgresServer, postgres

__all__ = ["postgres"]

pytestmark = pytest.mark.slow


def test_a_second_writer_on_a_server_is_refused_with_the_command_of_the_first(
    postgres: PostgresServer,
) -> None:
    url = postgres.new_url()
    first, second = open_engine(url), open_engine(url)
    for _ in range(3):
        with lock.hold(first, "mkt index"):
            for _ in range(2):
                with pytest.raises(LockHeld, match=r"`mkt index` \(pid \d+ on"):
                    with lock.hold(second, "mkt tag"):
                        pass
            assert "mkt index" in (lock.holder(second) or "")
        assert lock.holder(second) is None
    other = open_engine(postgres.new_url())  # another library of the same database
    with lock.hold(first, "mkt index"), lock.hold(other, "mkt index"):
        pass
    for engine in (first, second, other):
        engine.dispose()


def test_the_lock_of_a_lost_connection_is_free(postgres: PostgresServer) -> None:
    url = postgres.new_url()
    first, second = open_engine(url), open_engine(url)
    with lock.hold(first, "mkt index"):
        with second.connect() as connection:
            kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            connection.execute(text(f"{kill} WHERE application_name LIKE '`mkt index`%'"))
        with lock.hold(second, "mkt tag"):
            pass
    first.dispose()
    second.dispose()


def test_a_file_needs_no_lock(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with lock.hold(engine, "mkt index"), lock.hold(engine, "mkt tag"):
        assert lock.holder(engine) is None
    engine.dispose()


def test_a_copy_of_the_folder_cannot_write_at_the_same_time(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.new_url()
    first = Store.create(tmp_path / "first" / ".mkt", url=url)
    second = Store.open(shutil.copytree(first.directory, tmp_path / "second" / ".mkt"), url=url)
    with first.writing("mkt index"):
        with pytest.raises(LibraryLocked, match=r"The database is being written by `mkt index` "):
            with second.writing("mkt tag"):
                pass
        assert "mkt index" in (status(second).writer or "")
        assert second.catalog.count_indexed() == 0
    with second.writing("mkt tag"):
        assert "mkt tag" in (status(first).writer or "")
    assert status(first).writer is None
    first.close()
    second.close()
