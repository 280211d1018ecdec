"""Making, opening and upgrading a library; one writer at a time, readers that never wait."""

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from mkt_search.errors import (
    LibraryDamaged,
    LibraryLocked,
    LibraryNotFound,
    SchemaOutdated,
    StoreError,
)
from mkt_search.search.label_vectors import LabelVectors
from mkt_search.store import identity
from mkt_search.store.checks import verify
from mkt_search.store.sql import label_vectors
from mkt_search.store.sql.database import open_engine, transaction
from mkt_search.store.sql.schema import HEAD, Base
from mkt_search.store.sql.upgrade import migrations_folder
from mkt_search.store.store import Store
from mkt_search.types import Vector
from tests import made


class Ones:
    """A label encoder that gives every label the same vector."""

    fingerprint, dim = "ones", 4

    def encode(self, labels: Sequence[str]) -> Vector:
        return np.ones((len(labels), self.dim), np.float32)


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


@pytest.mark.parametrize("version", ["nine", b"\xff\0"])
def test_a_schema_that_no_version_has_is_damage(
    store: Store, url: str | None, version: object
) -> None:
    if url is not None and isinstance(version, bytes):
        pytest.skip("a server keeps the type of a column")
    with transaction(store.catalog.engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    with pytest.raises(LibraryDamaged, match=r"impossible schema .* from a backup"):
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


def test_tags_set_by_hand_become_tags_of_contents(tmp_path: Path, url: str | None) -> None:
    folder = tmp_path / ".mkt"
    (folder / "segments").mkdir(parents=True)
    engine = open_engine(url or f"sqlite:///{folder / 'mkt.db'}")
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0010")
        for statement in OLD_TAGS:
            connection.execute(text(statement), {"one": b"1" * 32, "two": b"2" * 32})
    store = Store.open(folder, url=url, check=False)
    store.migrate()
    assert sorted(
        (tag.path.name, tag.label, tag.source, tag.is_missing) for tag in store.catalog.tags()
    ) == [
        ("a.jpg", "cat", "human", False),
        ("a.jpg", "dog", "auto", False),
        ("a.jpg", "dog", "human", False),
        ("copy.jpg", "cat", "human", False),
        ("copy.jpg", "dog", "human", False),
        ("gone.jpg", "dog", "imported", True),
        ("unread.jpg", "cat", "human", False),
    ]
    assert store.catalog.photo_at(Path("/photos/nobody tagged.jpg")).content is None  # type: ignore[union-attr]
    with engine.begin() as connection:
        newest = connection.scalar(text("SELECT newest_content FROM revision"))
        assert newest == connection.scalar(text("SELECT max(id) FROM content"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0010")
        found = connection.execute(text("SELECT photo_id, label_id, source FROM tag"))
        assert {tuple(row) for row in found} == {
            *((1, 1, "auto"), (1, 1, "human"), (1, 2, "human")),
            *((2, 1, "human"), (2, 2, "human"), (3, 1, "imported"), (4, 2, "human")),
        }
    engine.dispose()
    store.close()


OLD_PHOTO = "INSERT INTO photo (id, root_id, path, size, mtime_ns, content_id, state) VALUES"
OLD_TAG = "INSERT INTO tag (photo_id, label_id, source, created_at) VALUES"
OLD_TAGS = (
    "INSERT INTO root (id, path) VALUES (1, '/photos')",
    "INSERT INTO content (id, sha256) VALUES (1, :one)",
    "INSERT INTO content (id, sha256) VALUES (2, :two)",
    "UPDATE revision SET newest_content = 2",
    "INSERT INTO label (id, name, key) VALUES (1, 'dog', 'dog')",
    "INSERT INTO label (id, name, key) VALUES (2, 'cat', 'cat')",
    f"{OLD_PHOTO} (1, 1, 'a.jpg', 9, 9, 1, 'indexed')",
    f"{OLD_PHOTO} (2, 1, 'copy.jpg', 9, 9, 1, 'indexed')",
    f"{OLD_PHOTO} (3, 1, 'gone.jpg', 9, 9, 2, 'missing')",
    f"{OLD_PHOTO} (4, 1, 'unread.jpg', 9, 9, NULL, 'failed')",
    f"{OLD_PHOTO} (5, 1, 'nobody tagged.jpg', 9, 9, NULL, 'failed')",
    f"{OLD_TAG} (1, 1, 'auto', '2024-01-01 00:00:00')",
    f"{OLD_TAG} (1, 1, 'human', '2024-01-01 00:00:00')",
    f"{OLD_TAG} (1, 2, 'human', '2024-01-01 00:00:00')",
    f"{OLD_TAG} (2, 1, 'human', '2024-01-02 00:00:00')",
    f"{OLD_TAG} (3, 1, 'imported', '2024-01-01 00:00:00')",
    f"{OLD_TAG} (4, 2, 'human', '2024-01-01 00:00:00')",
)


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


def test_a_search_for_a_new_label_does_not_wait_for_a_writer(
    store: Store, root: Path, url: str | None
) -> None:
    stored, encoder = made.fill(store, root, 2), Ones()
    other = Store.open(store.directory, url=url)
    with transaction(store.catalog.engine) as session:
        label_vectors.remember(session, encoder.fingerprint, {"dog": b"vector"})
        started = time.monotonic()
        found = LabelVectors(other.catalog).of(["dog"], encoder)
        with suppress(StoreError):  # PostgreSQL has a lock for each row
            other.record_model("moved", stored.encoding.checkpoint, None, wait=False)
        assert other.catalog.count_indexed() == 2
        assert time.monotonic() - started < 10, "SQLite would wait for half a minute"
    np.testing.assert_array_equal(found, encoder.encode(["dog"]))
    assert store.catalog.label_vectors(encoder.fingerprint, ["dog"]) == {"dog": b"vector"}
    other.catalog.remember_label_vectors(encoder.fingerprint, {"cat": b"later"})
    other.close()


def test_a_writer_waits_for_a_reader_that_remembers_a_label(store: Store, url: str | None) -> None:
    other = Store.open(store.directory, url=url)
    with ThreadPoolExecutor(1) as pool:
        with transaction(other.catalog.engine, wait=False) as session:
            label_vectors.remember(session, "encoder", {"dog": b"vector"})
            waiting = pool.submit(store.catalog.start_run, "index", {}, "pid 1")
            time.sleep(0.2)
        waiting.result()
    assert len(store.catalog.runs()) == 1
    other.close()


def test_searches_that_remember_the_same_labels_at_once_do_not_collide(store: Store) -> None:
    labels = {f"label {n}": bytes([n]) for n in range(200)}

    def remember() -> None:
        with suppress(StoreError):  # another one writes now
            store.catalog.remember_label_vectors("encoder", labels)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(remember) for _ in range(20)]:
            done.result()
    assert store.catalog.label_vectors("encoder", [*labels, "unknown"]) == labels
    assert store.catalog.label_vectors("another", [*labels]) == {}


def test_a_remembered_label_keeps_its_vector(store: Store) -> None:
    store.catalog.remember_label_vectors("encoder", {"dog": b"first"})
    store.catalog.remember_label_vectors("encoder", {"dog": b"second", "cat": b"new"})
    found = store.catalog.label_vectors("encoder", ["dog", "cat"])
    assert found == {"dog": b"first", "cat": b"new"}


def test_an_empty_database_beside_segments_is_a_lost_one(
    store: Store, root: Path, new_url: Callable[[], str | None]
) -> None:
    for number in range(3):
        made.fill(store, root, 1, seed=number, name=f"{number}-")
    elsewhere = new_url() or f"sqlite:///{root / 'other.db'}"
    with pytest.raises(
        LibraryDamaged, match=r"database is missing or empty, but .*3 files.*correct the URL"
    ):
        Store.create(store.directory, url=elsewhere)
    assert verify(store) == []


def test_the_database_of_another_library_is_refused(
    store: Store, root: Path, tmp_path: Path, url: str | None
) -> None:
    same = url or f"sqlite:///{store.directory / 'mkt.db'}"
    second = tmp_path / "second" / ".mkt"
    for photos in (1, 2):  # the library is empty at first
        with pytest.raises(StoreError, match=r"belongs to another library than .*second"):
            Store.create(second, url=same)
        with pytest.raises(StoreError, match="belongs to another library"):
            Store.open(second, url=same)
        made.fill(store, root, photos, name=f"{photos}-", seed=photos)
    assert verify(store) == []
    own = f"sqlite:///{tmp_path / 'own.db'}"
    Store.create(second, url=own).close()
    Store.open(second, url=own).close()
    with pytest.raises(StoreError, match="belongs to another library"):
        Store.open(second, url=same)


def test_a_moved_library_keeps_its_database(
    store: Store, root: Path, tmp_path: Path, url: str | None
) -> None:
    made.fill(store, root, 1)
    moved = shutil.move(store.directory, tmp_path / "moved")
    with closing(Store.open(moved, url=url)) as again, again.writing("mkt tag"):
        assert again.catalog.count_indexed() == 1


def test_a_library_of_the_version_before_gets_its_database(
    store: Store, root: Path, tmp_path: Path, url: str | None
) -> None:
    made.fill(store, root, 1)
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    store.catalog.engine.dispose()  # a new connection has no triggers yet
    with store.catalog.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
    (store.directory / identity.FILE).unlink(missing_ok=True)
    old = Store.open(store.directory, url=url, check=False)
    old.migrate()
    assert old.catalog.library_id() is not None
    assert old.catalog.count_indexed() == 1
    old.close()
    same = url or f"sqlite:///{store.directory / 'mkt.db'}"
    with pytest.raises(StoreError, match="belongs to another library"):
        Store.create(tmp_path / "second" / ".mkt", url=same)
    Store.open(store.directory, url=url).close()


def test_segments_that_are_gone_can_be_encoded_again(
    store: Store, root: Path, url: str | None
) -> None:
    stored = made.fill(store, root, 2)
    shutil.rmtree(store.folder)
    again = Store.open(store.directory, url=url)
    with pytest.raises(LibraryDamaged, match=r"missing\. Run `mkt repair`"):
        again.vector_store(stored).snapshot()
    assert [problem.fix for problem in verify(again)] == ["`mkt repair` encodes its photos again"]
    with again.writing("mkt repair"):
        assert again.folder.is_dir()
    again.close()
