"""Segments and vector rows: what is live, what is in use, what has no vectors."""

import pytest
from sqlalchemy.orm import Session

from mkt_search.store.manifest import StoredFile
from mkt_search.store.sql import changes, vectors
from tests import made
from tests.store.sql.conftest import Rows


class Stored:
    """Three photos in two segments; a copy; a missing photo; a photo without vectors."""

    def __init__(self, rows: Rows) -> None:
        self.encoding = rows.encoding()
        a, b = rows.photo("a.jpg"), rows.photo("b.jpg")
        gone = rows.photo("gone.jpg", state="missing")
        rows.photo("copy/a.jpg", content="a.jpg")
        rows.photo("new.jpg")
        self.a, self.b, self.gone = a.content_id, b.content_id, gone.content_id
        rows.segment(self.encoding, "one", [self.b, self.gone])
        rows.segment(self.encoding, "two", [self.a])
        other = rows.encoding(state="building", m=3)
        rows.segment(other, "other", [self.a])


@pytest.fixture
def stored(rows: Rows) -> Stored:
    return Stored(rows)


def test_a_vector_is_live_while_its_content_has_an_indexed_photo(
    session: Session, stored: Stored
) -> None:
    live = vectors.live(session, stored.encoding).tolist()
    assert live == [[1, 0, stored.b], [2, 0, stored.a]]
    assert vectors.count_live(session, stored.encoding) == 2


def test_only_changed_contents_are_read_again(session: Session, stored: Stored) -> None:
    changes.record_change(session, [stored.a or 0])
    changes.record_change(session, [stored.b or 0, stored.gone or 0])
    found = vectors.live_changed(session, stored.encoding, 1).tolist()
    assert found == [[1, 0, stored.b]]
    assert len(vectors.live_changed(session, stored.encoding, 0)) == 2


def test_photos_without_vectors_are_counted(session: Session, stored: Stored) -> None:
    assert vectors.count_unencoded(session, stored.encoding) == 1
    assert vectors.count_unencoded(session, stored.encoding + 1) == 2  # b and the new one
    assert vectors.count_unencoded(session) == 1


def test_segments_are_listed_and_summed(session: Session, stored: Stored) -> None:
    first, second = vectors.segments(session, stored.encoding)
    assert (first.file, first.photos) == (StoredFile("one", 100, bytes(32)), 2)
    assert vectors.segment_files(session, stored.encoding) == {1: "one", 2: "two"}
    assert vectors.segment_files(session) == {1: "one", 2: "two", 3: "other"}
    assert vectors.find_segment(session, second.id) == (stored.encoding, "two")
    assert vectors.find_segment(session, 99) is None
    assert vectors.totals(session) == (3, 300)


def test_rows_in_use_are_those_some_content_needs(session: Session, stored: Stored) -> None:
    assert vectors.rows_in_use(session, 1).tolist() == [[0, stored.b], [1, stored.gone]]
    assert vectors.rows_in_use(session, 99).shape == (0, 2)
    assert vectors.count_rows_in_use(session, stored.encoding) == {1: 2, 2: 1}
    named = dict(vectors.contents_of_rows(session, 1))
    assert {row: sha.hex() for row, sha in named.items()} == {
        0: made.sha("b.jpg"),
        1: made.sha("gone.jpg"),
    }


def test_a_deleted_segment_takes_its_rows_along(session: Session, stored: Stored) -> None:
    vectors.delete_segments(session, [1, 99])
    assert vectors.live(session, stored.encoding).tolist() == [[2, 0, stored.a]]
    assert vectors.count_unencoded(session, stored.encoding) == 2


def test_an_empty_library_has_no_rows(session: Session) -> None:
    assert vectors.live(session, 1).shape == (0, 3)
    assert vectors.totals(session) == (0, 0)
