"""The file of a map."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkt_search.errors import MapError, StoreError
from mkt_search.projection.file import FILE, load, save
from tests.projection.made import small_map


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the file of a map."""
    save(small_map(), tmp_path / FILE)
    return tmp_path / FILE


def changed(path: Path, **arrays: Any) -> None:
    """Replace arrays of a map's file."""
    with np.load(path) as found:
        kept = {name: found[name] for name in found.files}
    np.savez(path, **{**kept, **arrays})


def changed_meta(path: Path, **values: Any) -> None:
    """Replace values of the description of a map."""
    with np.load(path) as found:
        meta = json.loads(found["meta"].tobytes())
    changed(path, meta=np.frombuffer(json.dumps(meta | values).encode(), np.uint8))


def test_a_map_that_was_saved_is_the_same_map(saved: Path) -> None:
    before, after = small_map(), load(saved)
    assert after is not None
    assert np.array_equal(after.keys, before.keys)
    assert np.array_equal(after.points, before.points)
    assert np.array_equal(after.anchors.axes.directions, before.anchors.axes.directions)
    assert (after.encoding, after.revision, after.seed, after.clusters) == (
        before.encoding,
        before.revision,
        before.seed,
        before.clusters,
    )


def test_no_file_is_no_map(tmp_path: Path) -> None:
    assert load(tmp_path / FILE) is None


@pytest.mark.parametrize(
    "arrays",
    [
        {"keys": np.array([20, 10, 30], np.uint64)},
        {"keys": np.array([10, 10, 30], np.uint64)},
        {"keys": np.array([10, 20, 30], np.int64)},
        {"keys": np.array([10, 20], np.uint64)},
        {"points": np.full((3, 2), np.nan, np.float32)},
        {"points": np.full((3, 2), 2, np.float32)},
        {"points": np.zeros((3, 2), np.float64)},
        {"points": np.array([[{}, {}]] * 3, object)},
        {"anchors": np.zeros((2, 2), np.float32)},
        {"coordinates": np.zeros((0, 2), np.float32)},
        {"coordinates": np.zeros((20_001, 2), np.float32)},
        {"directions": np.zeros((51, 20), np.float32)},
        {"mean": np.zeros((0,), np.float32)},
        {"meta": np.frombuffer(b"{}", np.uint8)},
        {"meta": np.frombuffer(b"[" * 100_000, np.uint8)},
    ],
    ids=lambda arrays: "-".join(arrays),
)
def test_arrays_that_do_not_fit_are_refused(saved: Path, arrays: dict[str, Any]) -> None:
    changed(saved, **arrays)
    with pytest.raises(MapError, match="Make it again with `mkt map`"):
        load(saved)


@pytest.mark.parametrize(
    "values",
    [
        {"format": 2},
        {"encoding": 1},
        {"revision": -1},
        {"revision": 1e300},
        {"seed": "0"},
        {"clusters": {}},
        {"clusters": [{"level": 2, "x": 0, "y": 0, "name": ""}]},
        {"clusters": [{"level": 0, "x": 5, "y": 0, "name": ""}]},
        {"clusters": [{"level": 0, "x": None, "y": 0, "name": ""}]},
        {"clusters": [{"level": 0, "x": 0, "y": 0, "name": ["dog"]}]},
        {"clusters": [{"level": 0, "x": 0, "y": 0, "name": "", "photos": 1}]},
        {"clusters": [{"level": 0, "x": 0, "y": 0, "name": "a"}] * 100},
    ],
    ids=str,
)
def test_a_description_that_cannot_be_is_refused(saved: Path, values: dict[str, Any]) -> None:
    changed_meta(saved, **values)
    with pytest.raises(MapError):
        load(saved)


def test_a_compressed_file_is_refused_before_it_is_unpacked(saved: Path) -> None:
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("keys.npy", b"\0" * 10_000_000)
    with pytest.raises(MapError, match="compressed"):
        load(saved)


def test_a_link_a_pipe_and_a_folder_are_no_map(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(saved)
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(MapError):
            load(tmp_path / f"{name}.npz")


@given(at=st.floats(0, 1), value=st.integers(0, 255))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_changed_byte_is_a_sentence_or_the_same_map(saved: Path, at: float, value: int) -> None:
    whole = saved.read_bytes()
    data = bytearray(whole)
    data[min(int(at * len(data)), len(data) - 1)] = value
    saved.write_bytes(data)
    try:
        found = load(saved)
        assert found is not None and np.array_equal(found.points, small_map().points)
    except MapError as error:
        assert "Make it again" in str(error)
    finally:
        saved.write_bytes(whole)


@given(share=st.floats(0, 1))
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_file_that_ends_early_is_refused(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * (len(whole) - 1))])
    with pytest.raises(MapError):
        load(saved)
    saved.write_bytes(whole)


def test_a_map_that_cannot_be_written_leaves_the_old_one(saved: Path) -> None:
    (saved.parent / f"{FILE}.tmp").mkdir()  # where the new file would be made
    with pytest.raises(StoreError):
        save(small_map(5), saved)
    kept = load(saved)
    assert kept is not None and len(kept.keys) == 3
