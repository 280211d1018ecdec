"""Records become a matrix of targets: +1 shows, -1 does not, 0 unknown."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.datasets.dataset import PhotoDataset, Record, targets_of, unknown_targets
from mkt_search.errors import DatasetError

LABELS = ("cat", "dog", "emu")
SOME = st.lists(st.sampled_from(LABELS), unique=True, max_size=3).map(tuple)
RECORDS = st.lists(
    st.builds(Record, st.just("a.jpg"), SOME, st.none() | SOME, SOME), min_size=1, max_size=4
)


def target(record: Record, label: str) -> int:
    """Return one target by the slow rule: shown wins, then unknown, then absent."""
    if label in record.shows:
        return 1
    if label in record.unknown:
        return 0
    return -1 if record.absent is None or label in record.absent else 0


@given(RECORDS)
@settings(max_examples=60, deadline=None)
def test_targets_follow_the_records(records: list[Record]) -> None:
    expected = [[target(record, label) for label in LABELS] for record in records]
    found = targets_of(records, LABELS)
    assert found.dtype == np.int8 and found.tolist() == expected


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_photos_that_show_a_label_are_counted_in_blocks(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    photos = PhotoDataset(
        Path(), tuple("abcdefg"), LABELS, rng.integers(-1, 2, (7, 3)).astype(np.int8)
    )
    rows = np.flatnonzero(rng.random(7) < 0.6)
    expected = [sum(photos.targets[row, i] == 1 for row in rows) for i in range(3)]
    assert photos.shown_by(rows, photos_per_block=block).tolist() == expected


def test_selecting_all_labels_in_order_copies_nothing() -> None:
    photos = PhotoDataset(Path(), ("a",), LABELS, unknown_targets(1, 3))
    assert photos.only(LABELS) is photos
    assert photos.only(["emu", "cat"]).labels == ("emu", "cat")


def test_targets_larger_than_the_memory_are_refused_with_both_sizes() -> None:
    with pytest.raises(DatasetError, match=r"1,000,000,000 photos and 7,586 labels take 7065\.0"):
        unknown_targets(1_000_000_000, 7_586)
