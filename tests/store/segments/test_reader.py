"""Rows of several segments as one table: in any order, as they were written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.store.segments import reader as readers
from mkt_search.store.segments.coding import decode, encode
from mkt_search.store.segments.reader import SegmentReader
from mkt_search.store.segments.segment import open_segment, write
from tests import made

EACH, SEGMENTS = 40, 3
N = EACH * SEGMENTS
WRITTEN = [made.vectors(EACH, seed) for seed in range(SEGMENTS)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SegmentReader]:
    folder, encoding, segments = tmp_path_factory.mktemp("segments"), made.encoding(), []
    for number, vectors in enumerate(WRITTEN):
        contents = [made.sha(f"{number}-{i}") for i in range(EACH)]
        written = write(folder, vectors, contents, encoding)
        segments.append(open_segment(folder / written.name, encoding))
    yield SegmentReader(segments, encoding)


@pytest.fixture(scope="module")
def written() -> np.ndarray:
    """What the segments were written from, (N, 1 + m, D), coded and decoded."""
    parts = [np.concatenate([v.global_vectors[:, None], v.local_vectors], axis=1) for v in WRITTEN]
    return decode(*encode(np.concatenate(parts), "int8"), "int8", made.DIM)


ORDERS = {
    "as they lie": np.arange(N),
    "scattered": np.random.default_rng(0).permutation(N),
    "some, with repeats": np.array([119, 3, 3, 59, 0, 119]),
    "of one segment, backwards": np.arange(EACH)[::-1],
    "many of one segment": np.arange(0, EACH, 2).repeat(9),
    "none": np.empty(0, np.int64),
}


@pytest.mark.parametrize("rows", ORDERS.values(), ids=ORDERS)
def test_rows_in_any_order_give_what_was_written(
    reader: SegmentReader, written: np.ndarray, rows: np.ndarray
) -> None:
    labels = np.random.default_rng(1).standard_normal((3, made.DIM)).astype(np.float32)
    members = np.concatenate([v.members for v in WRITTEN])
    np.testing.assert_array_equal(reader.vectors(rows), written[rows])
    expected = written[rows] @ labels.T
    np.testing.assert_allclose(reader.products(rows, labels), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(reader.counts(rows), members[rows].sum(axis=2))
    np.testing.assert_array_equal(reader.member_patches(rows), members[rows])


@pytest.mark.parametrize("vectors", [0, 1, 40, 2 * readers.VECTORS_PER_PRODUCT + 9])
def test_products_of_single_vectors_are_those_of_what_was_written(
    reader: SegmentReader, written: np.ndarray, vectors: int
) -> None:
    rng = np.random.default_rng(2)
    rows, local_index = np.sort(rng.integers(0, N, vectors)), rng.integers(0, made.M, vectors)
    label = rng.standard_normal(made.DIM).astype(np.float32)
    expected = (written[rows, 0] + written[rows, 1 + local_index]) @ label
    np.testing.assert_allclose(reader.fused_products(rows, local_index, label), expected, atol=1e-4)


def test_whole_segments_are_yielded_from_any_of_them(
    reader: SegmentReader, written: np.ndarray
) -> None:
    np.testing.assert_array_equal(np.concatenate(list(reader.all_vectors())), written)
    np.testing.assert_array_equal(np.concatenate(list(reader.all_vectors(2))), written[2 * EACH :])


def test_many_rows_are_announced_unless_they_were_read_lately(
    reader: SegmentReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[int] = []

    def ahead(self: object, rows: np.ndarray, *arrays: np.ndarray) -> None:
        announced.extend(rows.tolist())

    monkeypatch.setattr("mkt_search.store.segments.segment.Segment.read_ahead", ahead)
    few, many = readers.READ_AHEAD_FROM_ROWS - 1, readers.READ_AHEAD_FROM_ROWS
    reader.vectors(np.arange(few))
    assert not announced
    rows = np.random.default_rng(0).permutation(N)[:many]
    reader.release_pages()
    reader.counts(rows)
    assert sorted(announced) == sorted((rows % EACH).tolist())
    announced.clear()
    reader.counts(rows)
    assert not announced  # they were read lately
    reader.release_pages()
    reader.counts(rows)
    assert len(announced) == many


def test_a_row_that_does_not_exist_is_refused(reader: SegmentReader) -> None:
    for row in (-1, N):
        with pytest.raises(IndexError):
            reader.vectors(np.array([row]))


def test_pages_can_be_released_while_rows_are_read(
    reader: SegmentReader, written: np.ndarray
) -> None:
    reader.release_pages()
    np.testing.assert_array_equal(reader.vectors(np.arange(N)), written)


def test_no_segments_have_no_vectors(tmp_path: Path) -> None:
    reader, nothing = SegmentReader([], made.encoding()), np.empty(0, np.int64)
    assert len(reader) == 0 and reader.vectors(nothing).shape == (0, 1, made.DIM)
    assert reader.products(nothing, np.ones((2, made.DIM), np.float32)).shape == (0, 1, 2)
