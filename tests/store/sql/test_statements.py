"""Lists in pieces, the time, and inserts that leave out known keys."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.sql.schema import LabelVectorRow
from mkt_search.store.sql.statements import VALUES_PER_LIST, in_pieces, insert_new, now


def test_values_are_cut_into_pieces_that_a_statement_takes() -> None:
    values = list(range(2 * VALUES_PER_LIST + 1))
    pieces = list(in_pieces(values))
    assert [len(piece) for piece in pieces] == [VALUES_PER_LIST, VALUES_PER_LIST, 1]
    assert [value for piece in pieces for value in piece] == values
    assert list(in_pieces([])) == []


def test_times_are_utc_without_a_zone() -> None:
    assert now().tzinfo is None
    assert abs(now() - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)


def test_known_keys_keep_their_rows(session: Session) -> None:
    rows = [{"encoder": "e", "label": name, "vector": b"first"} for name in ("a", "b")]
    insert_new(session, LabelVectorRow, rows)
    new = [{"encoder": "e", "label": name, "vector": b"second"} for name in ("b", "c")]
    insert_new(session, LabelVectorRow, new)
    found = session.execute(select(LabelVectorRow.label, LabelVectorRow.vector))
    assert {label: vector for label, vector in found} == {
        "a": b"first",
        "b": b"first",
        "c": b"second",
    }
