"""The files of a candidate index: every byte is checked, and other files are refused."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann.index_files import (
    PIECE,
    load_pq_index,
    load_row_map,
    piecewise_sha256,
    write_index,
)
from mkt_search.store.ann.pq_index import PQIndex
from mkt_search.store.manifest import CandidateIndex
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.segments.files import write_named
from tests import made


@pytest.fixture
def index(tmp_path: Path) -> CandidateIndex:
    """A small index of 300 vectors, and rows of two segments."""
    vectors = np.random.default_rng(0).standard_normal((300, made.DIM)).astype(np.float32)
    pq_index = PQIndex.train(vectors, made.M)
    rows = np.array([[1, row, 10 + row] for row in range(5)] + [[2, 0, 99]], np.int64)
    pq, row_map = write_index(tmp_path, pq_index, rows, prefix="7-")
    return CandidateIndex(pq, row_map, 6, 1, RecallCurve({}))


def test_both_files_are_read_back(tmp_path: Path, index: CandidateIndex) -> None:
    assert index.pq.name.startswith("7-") and index.pq.name.endswith(".pq")
    assert load_row_map(tmp_path, index).tolist()[-2:] == [[1, 4, 14], [2, 0, 99]]
    assert len(load_pq_index(tmp_path, index, made.encoding())) == 0
    assert index.size == sum(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("missing", "is missing"),
        ("short", "has lost or gained bytes"),
        ("flipped", "has other bytes than were written"),
    ],
)
def test_damage_is_a_sentence_with_a_way_out(
    tmp_path: Path, index: CandidateIndex, harm: str, what: str
) -> None:
    for file in (index.pq, index.row_map):
        path = tmp_path / file.name
        data = bytearray(path.read_bytes())
        data[5] ^= 1
        path.unlink()
        if harm != "missing":
            path.write_bytes(data[:-8] if harm == "short" else data)
    with pytest.raises(LibraryDamaged, match=rf"candidate index {index.pq.name} {what}.*repair"):
        load_pq_index(tmp_path, index, made.encoding())
    with pytest.raises(LibraryDamaged, match=rf"row map {index.row_map.name} {what}.*repair"):
        load_row_map(tmp_path, index)


def test_files_of_another_version_are_refused(tmp_path: Path) -> None:
    data = np.arange(300).tobytes()  # numbers without a header, as row maps once were
    file = write_named(tmp_path, data, digest_of=piecewise_sha256)
    index = CandidateIndex(file, file, 100, 1, RecallCurve({}))
    refused = r"is of another version of this program\. .*`mkt optimize`"
    with pytest.raises(LibraryDamaged, match=refused):
        load_row_map(tmp_path, index)
    with pytest.raises(LibraryDamaged, match=refused):
        load_pq_index(tmp_path, index, made.encoding())


def test_the_digest_covers_every_byte_and_the_order_of_pieces() -> None:
    data = np.random.default_rng(0).integers(0, 256, 2 * PIECE + 5).astype(np.uint8)
    pieces = [data[:PIECE], data[PIECE : 2 * PIECE], data[2 * PIECE :]]
    plain = b"".join(hashlib.sha256(part.tobytes()).digest() for part in pieces)
    assert piecewise_sha256(data.data) == hashlib.sha256(plain).digest()
    for other in (np.concatenate([pieces[1], pieces[0], pieces[2]]), data[:-1]):
        assert piecewise_sha256(other.data) != piecewise_sha256(data.data)
    data[PIECE + 7] ^= 1
    assert piecewise_sha256(data.data) != hashlib.sha256(plain).digest()
    assert piecewise_sha256(b"") == hashlib.sha256(b"").digest()
