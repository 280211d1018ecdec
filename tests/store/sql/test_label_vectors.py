"""Remembered label vectors."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from mkt_search.store.sql import label_vectors
from mkt_search.store.sql.schema import LabelVectorRow
from mkt_search.store.sql.statements import VALUES_PER_LIST


def test_vectors_are_found_under_their_encoder(session: Session) -> None:
    label_vectors.remember(session, "one", {"dog": b"1", "cat": b"2"})
    label_vectors.remember(session, "two", {"dog": b"3"})
    assert label_vectors.find(session, "one", ["dog", "bird"]) == {"dog": b"1"}
    assert label_vectors.find(session, "two", ["dog", "cat"]) == {"dog": b"3"}
    assert label_vectors.every(session) == [b"2", b"1", b"3"]


def test_a_remembered_vector_is_kept(session: Session) -> None:
    label_vectors.remember(session, "one", {"dog": b"1"})
    label_vectors.remember(session, "one", {"dog": b"other", "cat": b"2"})
    label_vectors.remember(session, "one", {})
    assert label_vectors.find(session, "one", ["cat", "dog"]) == {"dog": b"1", "cat": b"2"}


def test_a_damaged_vector_is_not_used(session: Session) -> None:
    label_vectors.remember(session, "one", {"dog": b"1", "cat": b"2"})
    is_dog = LabelVectorRow.label == "dog"
    session.execute(update(LabelVectorRow).where(is_dog).values(checksum=1))
    assert label_vectors.find(session, "one", ["dog", "cat"]) == {"cat": b"2"}
    assert label_vectors.every(session) == [b"2"]


def test_more_labels_than_one_statement_takes(session: Session) -> None:
    vectors = {f"label {number}": b"v" for number in range(VALUES_PER_LIST + 5)}
    label_vectors.remember(session, "one", vectors)
    assert label_vectors.find(session, "one", list(vectors)) == vectors


def test_all_can_be_deleted(session: Session) -> None:
    label_vectors.remember(session, "one", {"dog": b"1"})
    label_vectors.delete_all(session)
    assert label_vectors.every(session) == []


def test_every_label_of_an_encoder_is_read(session: Session) -> None:
    label_vectors.remember(session, "one", {"dog": b"1", "cat": b"2", "bird": b"4"})
    label_vectors.remember(session, "two", {"dog": b"3"})
    session.execute(update(LabelVectorRow).where(LabelVectorRow.label == "bird").values(checksum=1))
    assert list(label_vectors.of_encoder(session, "one")) == [("cat", b"2"), ("dog", b"1")]
