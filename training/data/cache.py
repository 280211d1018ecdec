"""Arrays with a row for each photo, computed once and kept: written in order, they resume.

A cache is a folder named after all that decides its numbers. Beside an `.npy` for each array stands
`progress.json`: how many rows are there, of which arrays, and the SHA-256 of each. What a killed
run left is gone on with; what was damaged since, or is of another form, is computed again.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import TrainingError
from training.runs.files import save

NOTE = "progress.json"
FLUSH_EVERY = 16  # batches between two notes of how far the cache got
ROWS_HASHED = 4096  # at a time, when a cache is opened

Arrays = dict[str, NDArray[Any]]


class ArrayCache:
    """Arrays of `total` rows that fill up from the first to the last; `done` rows are there.

    Args:
        folder: made when it is not there.
        total: rows when it is whole.
        is_hashed: keep a hash of the rows, and start anew when those on disk have another. For
            arrays so large that reading them is the work of an epoch it is left out.
    """

    def __init__(self, folder: Path, total: int, *, is_hashed: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.total = total
        self.done = 0
        self._folder = folder
        self._is_hashed = is_hashed
        self._arrays: Arrays = {}
        self._hashes: dict[str, Any] = {}
        self._since_flush = 0
        self._take_up()

    @property
    def is_whole(self) -> bool:
        """True when every row is there."""
        return self.done == self.total

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Append a few rows to every array; on disk for certain after `FLUSH_EVERY` times."""
        if not self.done:
            self._make(rows)
        for name, values in rows.items():
            self._arrays[name][self.done : self.done + len(values)] = values
            if self._is_hashed:
                self._hashes[name].update(values.tobytes())
        self.done += len(values)
        self._since_flush += 1
        if self._since_flush >= FLUSH_EVERY or self.is_whole:
            self.flush()

    def flush(self) -> None:
        """Hand all that was added to the disk, then the note of how far it is."""
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]
        note = {
            "done": self.done,
            "total": self.total,
            "arrays": {name: self._digest(name) for name in self._arrays},
        }
        save(self._folder / NOTE, json.dumps(note))
        self._since_flush = 0

    def arrays(self) -> Arrays:
        """Return the arrays for reading, by name; bytes come from disk as they are looked at."""
        return self._open(self._arrays, "r")

    def _open(self, names: Iterable[str], mode: Literal["r", "r+"]) -> Arrays:
        return {name: np.load(self._file(name), mmap_mode=mode) for name in names}

    def _take_up(self) -> None:
        """Go on with what is in the folder, as far as it can be used."""
        try:
            note = json.loads((self._folder / NOTE).read_text())
            arrays = self._open(note["arrays"], "r")  # r+ would fill up a file that is too short
            done, digests = int(note["done"]), dict(note["arrays"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if note.get("total") != self.total or any(len(a) != self.total for a in arrays.values()):
            return
        hashes = {n: self._hash(array[:done]) for n, array in arrays.items()}
        if self._is_hashed and digests != {n: found.hexdigest() for n, found in hashes.items()}:
            return
        if done < self.total:
            arrays = self._open(arrays, "r+")
        self.done, self._arrays, self._hashes = done, arrays, hashes

    def _make(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Lay out empty arrays like the first rows; the note of older ones goes first."""
        (self._folder / NOTE).unlink(missing_ok=True)
        for name, values in rows.items():
            shape = (self.total, *values.shape[1:])
            self._arrays[name] = _lay_out(self._file(name), values.dtype, shape)
            self._hashes[name] = hashlib.sha256()

    def _hash(self, rows: NDArray[Any]) -> Any:
        found = hashlib.sha256()
        if self._is_hashed:
            for start in range(0, len(rows), ROWS_HASHED):
                found.update(rows[start : start + ROWS_HASHED].tobytes())
        return found

    def _digest(self, name: str) -> str:
        return str(self._hashes[name].hexdigest()) if self._is_hashed else ""

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npy"


def _lay_out(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Make an array on disk and take all the room it needs: else a full disk kills us at some row.

    Raises:
        TrainingError: the disk has not so much.
    """
    try:
        array = np.lib.format.open_memmap(file, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # elsewhere a full disk shows only later
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)
    except OSError as error:
        file.unlink(missing_ok=True)
        size = math.prod(shape) * dtype.itemsize
        raise TrainingError(
            f"{file} cannot have the {size / 2**20:,.1f} MiB that it needs: {error.strerror}. Make"
            " room, or name a folder on another disk by --cache."
        ) from error
    return array
