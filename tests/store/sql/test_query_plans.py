"""How SQLite plans the queries that every search, batch and tag run waits for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from mkt_search.store.sql import auto_tags, changes, contents, vectors
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.database import reading
from mkt_search.store.store import Store
from mkt_search.types import Filters
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 5)
    yield store
    store.close()


@contextmanager
def statements(store: Store) -> Iterator[list[tuple[str, tuple[object, ...]]]]:
    seen: list[tuple[str, tuple[object, ...]]] = []

    def note(_c: object, _k: object, statement: str, values, _x: object, _m: object) -> None:
        seen.append((statement, values))

    event.listen(store.catalog.engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.catalog.engine, "before_cursor_execute", note)


def plans(store: Store, ask: Callable[[Session], object]) -> str:
    """The steps that SQLite takes for the selects of a query function."""
    with statements(store) as seen, reading(store.catalog.engine) as session:
        ask(session)
        asked = [one for one in seen if one[0].lstrip().startswith("SELECT")]
        rows = [
            row[3]
            for statement, values in asked
            for row in session.connection().exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", values
            )
        ]
    return "\n".join(rows)


def test_photos_behind_hits_are_looked_up_by_their_contents(store: Store) -> None:
    steps = plans(store, lambda s: photo_queries.of_contents(s, [1, 2], Filters()))
    assert "SEARCH photo USING INDEX ix_photo_content_id_state (content_id=? AND state=?)" in steps
    assert "SCAN" not in steps


def test_no_vector_has_all_photos_read_for_it(store: Store) -> None:
    steps = plans(store, lambda s: vectors.live(s, 1))
    assert "CORRELATED" not in steps


def test_stored_contents_are_looked_up_one_by_one(store: Store) -> None:
    wanted = [made.sha("p000.jpg"), made.sha("other")]
    steps = plans(store, lambda s: contents.with_vectors(s, wanted, [1]))
    assert "(encoding_id=? AND content_id=?)" in steps
    assert "SCAN" not in steps
    with reading(store.catalog.engine) as session:
        assert contents.with_vectors(session, wanted, [1]) == {wanted[0]}


def test_a_tag_run_looks_up_its_photos_and_their_tags(store: Store) -> None:
    steps = plans(store, lambda s: photo_queries.ids_of_contents(s, [1, 2]))
    assert "SEARCH photo USING COVERING INDEX ix_photo_content_id_state" in steps
    current = plans(store, lambda s: list(auto_tags.pairs(s, [1, 2], superseded_by=None)))
    assert "SEARCH tag USING INDEX ix_tag_photo_id (photo_id=?)" in current
    replaced = plans(store, lambda s: list(auto_tags.pairs(s, [1, 2], superseded_by=1)))
    assert "ix_tag_superseded_by_photo_id (superseded_by=? AND photo_id=?)" in replaced
    of_labels = plans(store, lambda s: auto_tags.count(s, [1, 2]))
    assert "SEARCH tag USING INDEX ix_tag_label_id (label_id=?)" in of_labels
    assert "SEARCH photo USING INTEGER PRIMARY KEY (rowid=?)" in of_labels
    assert "SCAN" not in steps + current + replaced + of_labels


def test_changed_vectors_are_looked_up_by_the_journal(store: Store) -> None:
    steps = plans(store, lambda s: vectors.live_changed(s, 1, 0))
    assert "ix_change_revision" in steps
    assert "(encoding_id=? AND content_id=?)" in steps
    assert "SCAN" not in steps
    assert "SCAN" not in plans(store, lambda s: changes.changed(s, 0))
