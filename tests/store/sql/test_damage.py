"""Damaged rows: impossible values are found, and what can be made again is removed."""

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from mkt_search.store.sql import label_vectors
from mkt_search.store.sql.damage import delete_damaged, value_problems
from mkt_search.store.sql.schema import LabelVectorRow, Photo, SegmentRow, VectorRow
from tests.store.sql.conftest import Rows

REMOVED = {
    SegmentRow: {SegmentRow, VectorRow},
    VectorRow: {VectorRow},
    LabelVectorRow: {LabelVectorRow},
}


def test_unknown_states_and_vectors_that_are_none_are_found(session: Session, rows: Rows) -> None:
    rows.photo("a.jpg")
    label_vectors.remember(session, "encoder", {"dog": bytes(8)})
    assert list(value_problems(session)) == []
    session.execute(update(Photo).values(state="found"))
    label_vectors.remember(session, "encoder", {"cat": b"\0\0\xc0\x7f", "cow": b"123"})
    assert [table for table, _ in value_problems(session)] == ["photo", "label_vector"]


@pytest.mark.parametrize("damaged", REMOVED)
def test_rows_that_can_be_made_again_go(session: Session, rows: Rows, damaged: type) -> None:
    photo, encoding = rows.photo("a.jpg"), rows.encoding()
    rows.segment(encoding, "one", [photo.content_id])
    label_vectors.remember(session, "encoder", {"dog": bytes(8)})
    session.execute(update(damaged).values(checksum=1))
    unused = delete_damaged(session)
    assert unused.segments == (("one",) if damaged is SegmentRow else ())
    left = {row: session.scalar(select(func.count()).select_from(row)) for row in REMOVED}
    assert {row for row, count in left.items() if not count} == REMOVED[damaged]
    assert session.scalar(select(func.count()).select_from(Photo)) == 1
