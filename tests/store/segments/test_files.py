"""Files named by their digest, and arrays as the bytes of a file and back."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load

from mkt_search.store.segments.files import digest, packed, unpacked, write_named

ARRAYS: dict[str, NDArray[Any]] = {
    "codes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "steps": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
    "rows": np.array([[1, 2**40, -3]]),
}


def as_array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def test_arrays_come_back_as_views_of_the_bytes() -> None:
    data = as_array(packed(ARRAYS, {"encoding": "abc"}))
    arrays, metadata = unpacked(data)
    assert metadata == {"encoding": "abc"}
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and np.array_equal(arrays[name], array)
        assert np.shares_memory(arrays[name], data)


def test_other_programs_read_the_arrays() -> None:
    found = load(packed(ARRAYS))
    assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())


@pytest.mark.parametrize("kept", [0, 7, 8, 40, -1])
def test_a_file_that_was_cut_short_is_refused(kept: int) -> None:
    with pytest.raises(ValueError):
        unpacked(as_array(packed(ARRAYS)[:kept]))


@pytest.mark.parametrize("header", [[1], {"codes": {"dtype": "F64", "data_offsets": [0, 8]}}])
def test_something_else_than_our_arrays_is_refused(header: Any) -> None:
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(8)
    with pytest.raises((ValueError, KeyError)):
        unpacked(as_array(data))


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 50_000,
        b"[" * 100_000,
        b'{"__metadata__": 7}',
        b'{"codes": {"dtype": "U8", "shape": [8], "data_offsets": [-8, 0]}}',
        b'{"codes": {"dtype": "U8", "shape": [8], "data_offsets": [8, 0]}}',
        b'{"codes": {"dtype": "U8", "shape": [4000000000], "data_offsets": [0, 8]}}',
        b'{"codes": 7}',
        b'{"codes": {"dtype": [], "shape": [8], "data_offsets": [0, 8]}}',
        b"\xff",
    ],
)
def test_a_header_that_makes_no_sense_is_refused(header: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        unpacked(as_array(len(header).to_bytes(8, "little") + header + bytes(8)))


def test_a_link_is_not_digested(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(OSError):
        digest(tmp_path / "link")


def test_a_file_is_named_by_the_digest_of_its_bytes(tmp_path: Path) -> None:
    written = write_named(tmp_path, b"codes", prefix="3-", suffix=".safetensors")
    sha256 = hashlib.sha256(b"codes").digest()
    assert written.name == f"3-{sha256.hex()[:24]}.safetensors"
    assert (written.size, written.sha256) == (5, sha256)
    assert digest(tmp_path / written.name) == sha256
    assert [path.name for path in tmp_path.iterdir()] == [written.name]
