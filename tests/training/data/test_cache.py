"""A cache of rows resumes, and damaged rows are computed again."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search.errors import TrainingError
from training.data.cache import NOTE, ArrayCache

ROWS = np.arange(14, dtype=np.float32).reshape(7, 2)


def add(found: ArrayCache, count: int) -> None:
    rows = ROWS[found.done : found.done + count]
    found.add({"vectors": rows, "is_readable": rows[:, 0] >= 0})


def filled(folder: Path, *, is_hashed: bool = True) -> ArrayCache:
    found = ArrayCache(folder, len(ROWS), is_hashed=is_hashed)
    while not found.is_complete:
        add(found, 3)
    return found


def read(folder: Path) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = np.load(folder / "vectors.npy")
    return vectors


def test_a_complete_cache_is_reused(tmp_path: Path) -> None:
    filled(tmp_path)
    again = ArrayCache(tmp_path, len(ROWS), is_hashed=True)
    assert again.is_complete
    np.testing.assert_array_equal(again.arrays()["vectors"], ROWS)
    assert again.arrays()["is_readable"].all()
    assert json.loads((tmp_path / NOTE).read_text())["done"] == 7


def test_recorded_rows_survive_a_kill(tmp_path: Path) -> None:
    first = ArrayCache(tmp_path, len(ROWS), is_hashed=True, flush_every=2)
    for _ in range(3):  # the third is not recorded, as after a kill
        add(first, 2)
    second = ArrayCache(tmp_path, len(ROWS), is_hashed=True)
    assert second.done == 4
    while not second.is_complete:
        add(second, 2)
    np.testing.assert_array_equal(read(tmp_path), ROWS)
    assert ArrayCache(tmp_path, len(ROWS), is_hashed=True).is_complete


def damage(folder: Path, kind: str) -> None:
    path = folder / "vectors.npy"
    data = path.read_bytes()
    if kind == "a bit":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif kind == "cut off":
        path.write_bytes(data[:-5])
    elif kind == "gone":
        path.unlink()
    elif kind == "rubbish":
        path.write_bytes(b"rubbish")
    elif kind == "the note":
        (folder / NOTE).write_text("{")
    elif kind == "another note":
        (folder / NOTE).write_text('{"done": 7, "total": 7}')


@pytest.mark.parametrize("kind", ["a bit", "cut off", "gone", "rubbish", "the note"])
def test_a_damaged_cache_starts_over(tmp_path: Path, kind: str) -> None:
    filled(tmp_path)
    damage(tmp_path, kind)
    again = ArrayCache(tmp_path, len(ROWS), is_hashed=True)
    assert again.done == 0
    filled(tmp_path)
    np.testing.assert_array_equal(read(tmp_path), ROWS)


@pytest.mark.parametrize("kind", ["cut off", "gone", "rubbish", "the note", "another note"])
def test_without_hashes_the_shape_is_still_checked(tmp_path: Path, kind: str) -> None:
    filled(tmp_path, is_hashed=False)
    assert ArrayCache(tmp_path, len(ROWS), is_hashed=False).is_complete
    damage(tmp_path, kind)
    assert ArrayCache(tmp_path, len(ROWS), is_hashed=False).done == 0


def test_a_full_disk_is_an_error_before_any_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(TrainingError, match=r"vectors\.npy needs .*MiB.*--cache"):
        filled(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_number_of_rows_starts_over(tmp_path: Path) -> None:
    filled(tmp_path)
    assert ArrayCache(tmp_path, 9, is_hashed=True).done == 0
