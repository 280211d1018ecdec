"""What is known of photos, as a matrix: +1 shows, -1 does not, 0 unknown."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.datasets import dataset
from mkt_search.datasets.dataset import PhotoDataset, Record, all_unknown, targets_of
from mkt_search.errors import DatasetError

LABELS = ("cat", "dog", "emu")
SOME = st.lists(st.sampled_from(LABELS), unique=True, max_size=3).map(tuple)
RECORDS = st.lists(
    st.builds(Record, st.just("a.jpg"), SOME, st.none() | SOME, SOME), min_size=1, max_size=4
)


def plainly(record: Record, label: str) -> int:
    """The slow rule for one entry: what is shown wins, then unknown, then absent."""
    if label in record.shows:
        return 1
    if label in record.unknown:
        return 0
    return -1 if record.absent is None or label in record.absent else 0


@given(RECORDS)
@settings(max_examples=60, deadline=None)
def test_targets_are_what_each_record_says_of_each_label(records: list[Record]) -> None:
    expected = [[plainly(record, label) for label in LABELS] for record in records]
    found = targets_of(records, LABELS)
    assert found.dtype == np.int8 and found.tolist() == expected


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_photos_that_show_a_label_are_counted_block_by_block(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    photos = PhotoDataset(
        Path(), tuple("abcdefg"), LABELS, rng.integers(-1, 2, (7, 3)).astype(np.int8)
    )
    rows = np.flatnonzero(rng.random(7) < 0.6)
    expected = [sum(photos.targets[row, i] == 1 for row in rows) for i in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "BLOCK", block)
        assert photos.shown_by(rows).tolist() == expected


def test_all_labels_in_their_order_are_no_copy() -> None:
    photos = PhotoDataset(Path(), ("a",), LABELS, all_unknown(1, 3))
    assert photos.only(LABELS) is photos
    assert photos.only(["emu", "cat"]).labels == ("emu", "cat")


def test_targets_larger_than_the_machine_are_refused_with_both_sizes() -> None:
    with pytest.raises(DatasetError, match=r"1,000,000,000 photos and 7,586 labels takes 7065\.0"):
        all_unknown(1_000_000_000, 7_586)
