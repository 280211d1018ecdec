"""Encodings and candidate indexes as the catalog describes them."""

from dataclasses import replace

import pytest

from mkt_search.errors import CheckpointMismatch
from mkt_search.store.manifest import CandidateIndex, StoredEncoding, StoredFile
from mkt_search.store.recall_curve import RecallCurve
from tests import made


def test_vectors_of_the_same_encoding_are_comparable() -> None:
    stored = StoredEncoding(1, made.encoding(), "model", "active")
    assert stored.is_of(made.encoding())
    assert not stored.is_of(replace(made.encoding(), m=made.encoding().m + 1))
    stored.check_in_use()


def test_a_retired_form_is_comparable_with_nothing_and_names_the_way_out() -> None:
    stored = StoredEncoding(1, made.encoding(), "model", "active", retired="pooling ward")
    assert not stored.is_of(made.encoding())
    with pytest.raises(CheckpointMismatch, match=r"pooling ward.*mkt index --rebuild"):
        stored.check_in_use()


def test_the_size_of_a_candidate_index_is_that_of_both_files() -> None:
    pq, rows = StoredFile("1-a.pq", 300, b"a" * 32), StoredFile("1-b.rows", 40, b"b" * 32)
    assert CandidateIndex(pq, rows, 10, 1, RecallCurve({})).size == 340
