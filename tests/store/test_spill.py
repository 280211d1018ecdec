"""Label assignments wait in a file that no kill leaves behind; a full disk is reported."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import StoreError
from mkt_search.store.spill import SpillFile
from mkt_search.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / ".mkt")
    yield store
    store.close()


def test_records_come_back_in_their_order_piece_by_piece(store: Store) -> None:
    with SpillFile(store.directory) as spill:
        for first in (0, 5):
            numbers = np.arange(first, first + 5)
            spill.add(numbers + 2**40, numbers, numbers / 4)
        pieces = list(spill.pieces(4))
        assert (len(spill), [len(piece) for piece in pieces]) == (10, [4, 4, 2])
        records = np.concatenate(pieces)
        assert records["content"].tolist() == [n + 2**40 for n in range(10)]
        assert records["label"].tolist() == list(range(10))
        assert records["score"].tolist() == [n / 4 for n in range(10)]
        assert np.isnan(records["p"]).all()


def test_records_keep_their_probabilities(store: Store) -> None:
    with SpillFile(store.directory) as spill:
        spill.add(np.arange(2), np.arange(2), np.ones(2), np.array([0.25, 0.5]))
        (records,) = spill.pieces(4)
    assert records["p"].tolist() == [0.25, 0.5]


def test_an_empty_file_has_no_piece(store: Store) -> None:
    with SpillFile(store.directory) as spill:
        assert list(spill.pieces(4)) == []


def test_the_file_has_no_name(store: Store) -> None:
    before = sorted(store.directory.iterdir())
    with SpillFile(store.directory) as spill:
        spill.add(np.arange(100_000), np.arange(100_000), np.arange(100_000))
        assert sorted(store.directory.iterdir()) == before


@pytest.mark.parametrize("count", [10, 100_000])
def test_a_disk_that_takes_no_more_is_a_sentence(store: Store, count: int) -> None:
    numbers = np.arange(count)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with (
            pytest.raises(StoreError, match="Cannot write to"),
            SpillFile(store.directory) as spill,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
            spill.add(numbers, numbers, numbers)
            list(spill.pieces(count))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
