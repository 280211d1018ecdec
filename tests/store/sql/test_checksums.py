"""Checksums of rows: kept by every write of the program, and missed by no change behind it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from mkt_search.store.sql import auto_tags, checksums, miniatures, runs, tags
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.schema import Base
from mkt_search.store.store import Store
from tests import made

TABLES = sorted(Base.metadata.tables.keys() - {"evaluation", "change", "decision"})  # empty here
VALUES = st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A library with a candidate index, tags, a judgement, a miniature, a remembered label."""
    store = made.optimized(tmp_path_factory.mktemp("home"), 600)
    photos = [photo.id for photo in store.catalog.photos()]
    store.catalog.add_tag(photos[:5], "dog")
    store.catalog.add_judgements("dog", {photos[0]: True}, person="ann", model="1")
    store.catalog.remember_label_vectors("encoder", {"dog": bytes(8)})
    store.catalog.mark_missing(photos[-2:])
    with store.writing("test"), store.run("index", {"a": 1}):
        pass
    with transaction(store.catalog.engine) as session:
        run = runs.start(session, "tag", {}, "test")
        cat = tags.label_ids(session, ["cat"])["cat"]
        auto_tags.add(session, run, [(photos[0], cat, 0.5, 0.75)])
        miniatures.add(session, {1: bytes((8, 8)) + bytes(64)})
    yield store
    store.close()


def problems(store: Store) -> list[tuple[str, str]]:
    with reading(store.catalog.engine) as session:
        return list(checksums.problems(session))


def test_every_row_that_the_program_wrote_has_its_checksum(store: Store) -> None:
    assert problems(store) == []
    store.catalog.move_root(store.catalog.root_folders()[0], store.directory / "moved")
    store.catalog.remove_tag([photo.id for photo in store.catalog.photos()][:1], "dog")
    store.vectors.prune()
    assert problems(store) == []


@pytest.mark.parametrize("table", TABLES)
def test_a_value_that_another_tool_changed_is_found(store: Store, table: str) -> None:
    other = sqlite3.connect(store.directory / "mkt.db")
    (row,) = other.execute(f'SELECT rowid FROM "{table}" LIMIT 1').fetchone()
    for column in Base.metadata.tables[table].c:
        if column.name == "id" or column.foreign_keys:
            continue
        set_value = f'UPDATE "{table}" SET "{column.name}" = ? WHERE rowid = {row}'
        query = f'SELECT "{column.name}" FROM "{table}" WHERE rowid = {row}'
        (kept,) = other.execute(query).fetchone()
        other.execute(set_value, ("changed" if isinstance(kept, str) else 12_345,))
        other.commit()
        assert [name for name, _ in problems(store)] == [table], column
        other.execute(set_value, (kept,))
        other.commit()
        assert problems(store) == []
    other.close()


def test_a_changed_definition_is_found(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    assert problems(store) == []
    with store.catalog.engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_photo_taken_at"))
    assert problems(store) == [("", "the definition of a table or an index has changed")]
    store.close()


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
@settings(max_examples=30)
def test_other_values_have_another_checksum(one: list[object], two: list[object]) -> None:
    same = list(map(repr, one)) == list(map(repr, two))
    assert (checksums.checksum(*one) == checksums.checksum(*two)) == same
