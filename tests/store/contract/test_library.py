"""Making, opening and upgrading a library; one writer at a time, readers that never wait."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from mkt_search.errors import LibraryLocked, LibraryNotFound, SchemaOutdated, StoreError
from mkt_search.store.checks import verify
from mkt_search.store.sql.database import open_engine, transaction
from mkt_search.store.sql.schema import HEAD, Base
from mkt_search.store.sql.upgrade import migrations_folder
from mkt_search.store.store import Store
from tests import made


def test_a_missing_library_names_the_way_out(tmp_path: Path, url: str | None) -> None:
    with pytest.raises(LibraryNotFound, match=r"mkt init.*--library"):
        Store.open(tmp_path / ".mkt", url=url)


def test_making_a_library_twice_changes_nothing(store: Store, root: Path, url: str | None) -> None:
    made.fill(store, root, 2)
    Store.create(store.directory, url=url).close()
    assert store.catalog.count_indexed() == 2


def test_a_database_without_tables_holds_no_library(tmp_path: Path, url: str | None) -> None:
    (tmp_path / ".mkt" / "segments").mkdir(parents=True)
    (tmp_path / ".mkt" / "mkt.db").touch()
    with pytest.raises(SchemaOutdated, match=r"holds no library yet\. Run `mkt init`"):
        Store.open(tmp_path / ".mkt", url=url)
    Store.create(tmp_path / ".mkt", url=url).close()
    Store.open(tmp_path / ".mkt", url=url).close()


@pytest.mark.parametrize(("version", "way_out"), [("0000", "mkt migrate"), ("9999", "Upgrade")])
def test_another_schema_is_refused(
    store: Store, url: str | None, version: str, way_out: str
) -> None:
    with transaction(store.catalog.engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    with pytest.raises(SchemaOutdated, match=way_out):
        Store.open(store.directory, url=url)


def test_the_first_schema_is_upgraded_and_its_rows_are_kept(
    tmp_path: Path, url: str | None
) -> None:
    folder = tmp_path / ".mkt"
    (folder / "segments").mkdir(parents=True)
    engine = open_engine(url or f"sqlite:///{folder / 'mkt.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO root (path) VALUES ('/photos')"))
    with pytest.raises(SchemaOutdated, match=rf"schema 0001.*needs {HEAD}\. Run `mkt migrate`"):
        Store.open(folder, url=url)
    store = Store.open(folder, url=url, check=False)
    store.migrate()
    assert store.catalog.root_folders() == [Path("/photos")]
    assert {
        (table, column)
        for table in Base.metadata.tables
        for column in Base.metadata.tables[table].columns.keys()
    } == columns(store)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert connection.execute(text("SELECT path FROM root")).all() == [("/photos",)]
    engine.dispose()
    store.close()


def columns(store: Store) -> set[tuple[str, str]]:
    from sqlalchemy import inspect

    found = inspect(store.catalog.engine)
    return {
        (table, column["name"])
        for table in found.get_table_names()
        if table != "alembic_version"
        for column in found.get_columns(table)
    }


def test_a_second_writer_is_refused(store: Store, url: str | None) -> None:
    other = Store.open(store.directory, url=url)
    with store.writing("mkt index"):
        with pytest.raises(LibraryLocked, match="mkt index"), other.writing("mkt tag"):
            pass
        assert other.catalog.count_indexed() == 0
    with other.writing("mkt tag"):
        pass
    other.close()


def test_a_killed_run_is_called_interrupted_by_the_next_writer(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.run("index", {"a": 1}):
        raise KeyboardInterrupt
    with pytest.raises(KeyError), store.run("index", {}):
        raise KeyError
    killed = store.run("index", {})
    killed.__enter__()
    with store.writing("test"), store.run("index", {}) as run:
        run.summary = {"indexed": 3}
    assert [(info.outcome, info.summary) for info in store.catalog.runs()] == [
        ("interrupted", {}),
        ("failed", {}),
        ("interrupted", {}),
        ("done", {"indexed": 3}),
    ]
    assert store.catalog.runs()[0].settings == {"a": 1}


def test_a_search_remembers_labels_while_another_process_writes(
    store: Store, root: Path, url: str | None
) -> None:
    """SQLite would fail a transaction that has read and then must wait for another writer."""
    other = Store.open(store.directory, url=url)
    with ThreadPoolExecutor(1) as pool:
        with transaction(store.catalog.engine) as session:
            session.execute(text("SELECT number FROM revision")).all()
            waiting = pool.submit(
                other.catalog.remember_label_vectors, "encoder", {"dog": b"vector"}
            )
            time.sleep(0.2)
            session.execute(text("UPDATE revision SET number = number + 1"))
        waiting.result()
    assert store.catalog.label_vectors("encoder", ["dog"]) == {"dog": b"vector"}
    other.close()


def test_searches_that_remember_the_same_labels_at_once_do_not_collide(store: Store) -> None:
    labels = {f"label {n}": bytes([n]) for n in range(200)}
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            done = [
                pool.submit(store.catalog.remember_label_vectors, "encoder", labels)
                for _ in range(4)
            ]
            for one in done:
                one.result()
    assert store.catalog.label_vectors("encoder", [*labels, "unknown"]) == labels
    assert store.catalog.label_vectors("another", [*labels]) == {}


def test_a_remembered_label_keeps_its_vector(store: Store) -> None:
    store.catalog.remember_label_vectors("encoder", {"dog": b"first"})
    store.catalog.remember_label_vectors("encoder", {"dog": b"second", "cat": b"new"})
    found = store.catalog.label_vectors("encoder", ["dog", "cat"])
    assert found == {"dog": b"first", "cat": b"new"}


def test_segments_of_another_database_are_not_deleted(
    store: Store, root: Path, new_url: object
) -> None:
    for number in range(3):
        made.fill(store, root, 1, seed=number, name=f"{number}-")
    elsewhere = new_url() or f"sqlite:///{root / 'other.db'}"  # type: ignore[operator]
    other = Store.create(store.directory, url=elsewhere)
    with pytest.raises(StoreError, match=r"3 files.*right one"), other.writing("mkt index"):
        pass
    assert verify(store) == []
    other.close()


def test_the_database_of_another_library_is_refused(
    store: Store, root: Path, tmp_path: Path, url: str | None
) -> None:
    made.fill(store, root, 1)
    same = url or f"sqlite:///{store.directory / 'mkt.db'}"
    with pytest.raises(StoreError, match="belongs to another library"):
        Store.create(tmp_path / "second" / ".mkt", url=same)
    assert verify(store) == []
