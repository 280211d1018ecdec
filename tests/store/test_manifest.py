"""What the catalog says of stored vectors."""

from dataclasses import replace

import numpy as np
import pytest

from mkt_search.errors import CheckpointMismatch
from mkt_search.store.manifest import CandidateIndex, StoredEncoding, StoredFile
from mkt_search.store.recall_curve import RecallCurve
from tests import made

STORED = StoredEncoding(1, made.encoding(), "made", "active")


def test_only_vectors_of_the_same_encoding_compare() -> None:
    assert STORED.is_of(made.encoding())
    assert not STORED.is_of(made.encoding(m=6))
    assert not replace(STORED, retired="pooling ward").is_of(made.encoding())


def test_a_retired_form_is_refused_with_the_way_out() -> None:
    STORED.check_in_use()
    with pytest.raises(CheckpointMismatch, match=r"pooling ward.*mkt index --rebuild.*tags stay"):
        replace(STORED, retired="pooling ward").check_in_use()


def test_a_candidate_index_is_as_large_as_both_files() -> None:
    files = StoredFile("a.pq", 1_000, bytes(32)), StoredFile("a.rows", 24, bytes(32))
    curve = RecallCurve({})
    assert CandidateIndex(*files, photos=int(np.int64(3)), revision=1, recall=curve).size == 1_024
