"""The row of a candidate index and the names of its files."""

from dataclasses import replace

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from mkt_search.store.manifest import CandidateIndex, StoredFile
from mkt_search.store.recall_curve import RecallCurve, RecallPoint
from mkt_search.store.sql import candidate_indexes
from mkt_search.store.sql.schema import CandidateIndexRow
from tests.store.sql.conftest import Rows

CURVE = RecallCurve({"single": {10: (RecallPoint(40, 0.9),)}, "multi": {}, "negated": {}})


def index(name: str) -> CandidateIndex:
    pq = StoredFile(f"{name}.pq", 1_000, b"p" * 32)
    return CandidateIndex(pq, StoredFile(f"{name}.rows", 50, b"r" * 32), 300, 7, CURVE)


@pytest.fixture
def encoding(rows: Rows) -> int:
    return rows.encoding()


def test_an_index_comes_back_as_it_was_set(session: Session, encoding: int) -> None:
    assert candidate_indexes.find(session, encoding) is None
    assert candidate_indexes.replace(session, encoding, index("a")) == []
    assert candidate_indexes.find(session, encoding) == index("a")
    assert candidate_indexes.files(session) == {"a.pq", "a.rows"}


def test_a_new_index_names_the_files_of_the_old_one(session: Session, encoding: int) -> None:
    candidate_indexes.replace(session, encoding, index("a"))
    same_rows = replace(index("b"), row_map=index("a").row_map)
    assert candidate_indexes.replace(session, encoding, same_rows) == ["a.pq"]
    assert candidate_indexes.find(session, encoding) == same_rows


def test_the_index_of_each_encoding_goes_by_itself(session: Session, rows: Rows) -> None:
    first, second = rows.encoding(), rows.encoding(state="building", m=3)
    candidate_indexes.replace(session, first, index("a"))
    candidate_indexes.replace(session, second, index("b"))
    assert candidate_indexes.drop(session, [first]) == ["a.pq", "a.rows"]
    assert candidate_indexes.find(session, first) is None
    assert candidate_indexes.find(session, second) == index("b")


def test_files_of_an_unknown_kind_are_not_read(session: Session, encoding: int) -> None:
    unknown = replace(index("a"), pq=StoredFile("a.future", 1, bytes(32)))
    candidate_indexes.replace(session, encoding, unknown)
    assert candidate_indexes.find(session, encoding) is None
    assert "a.future" in candidate_indexes.files(session)


def test_a_damaged_index_is_none(session: Session, encoding: int) -> None:
    candidate_indexes.replace(session, encoding, index("a"))
    session.execute(update(CandidateIndexRow).values(checksum=1))
    assert candidate_indexes.find(session, encoding) is None
