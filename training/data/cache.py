"""Arrays with a row for each photo, computed once and kept on disk; a stopped computation resumes.

A cache is a folder named after everything that decides its numbers. Beside an `.npy` file for each
array, `progress.json` records how many rows are done, of which arrays, and the SHA-256 of each.
Rows that a killed run left are kept; an array that was damaged since is computed again.
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
HASH_BLOCK_ROWS = 4096

Arrays = dict[str, NDArray[Any]]


class ArrayCache:
    """Arrays of `total` rows that are filled from the first row to the last.

    Args:
        folder: created if it is missing.
        total: rows of the complete cache.
        is_hashed: record a hash of the rows, and start over when those on disk have another one.
            Leave it out for arrays so large that reading them takes as long as an epoch.
        flush_every: calls of `add` between two records of how many rows are done.

    Attributes:
        done: rows that are there.
    """

    def __init__(self, folder: Path, total: int, *, is_hashed: bool, flush_every: int = 16) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.total = total
        self.done = 0
        self._folder = folder
        self._is_hashed = is_hashed
        self._flush_every = flush_every
        self._arrays: Arrays = {}
        self._hashes: dict[str, Any] = {}
        self._since_flush = 0
        self._resume()

    @property
    def is_complete(self) -> bool:
        """True when every row is there."""
        return self.done == self.total

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Append as many rows to every array; they are durable after the next `flush`."""
        if not self.done:
            self._create(rows)
        for name, values in rows.items():
            self._arrays[name][self.done : self.done + len(values)] = values
            if self._is_hashed:
                self._hashes[name].update(values.tobytes())
        self.done += len(values)
        self._since_flush += 1
        if self._since_flush >= self._flush_every or self.is_complete:
            self.flush()

    def flush(self) -> None:
        """Write the rows to disk, then the record of how many there are."""
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
        """Return the arrays by name, memory-mapped for reading."""
        return self._open(self._arrays, "r")

    def _open(self, names: Iterable[str], mode: Literal["r", "r+"]) -> Arrays:
        return {name: np.load(self._file(name), mmap_mode=mode) for name in names}

    def _resume(self) -> None:
        """Take over the rows in the folder; without usable ones the cache stays empty."""
        try:
            note = json.loads((self._folder / NOTE).read_text())
            arrays = self._open(note["arrays"], "r")  # r+ would extend a file that is too short
            done, digests = int(note["done"]), dict(note["arrays"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if note.get("total") != self.total or any(len(a) != self.total for a in arrays.values()):
            return
        hashes = {name: self._hash(array[:done]) for name, array in arrays.items()}
        if self._is_hashed and digests != {n: found.hexdigest() for n, found in hashes.items()}:
            return
        if done < self.total:
            arrays = self._open(arrays, "r+")
        self.done, self._arrays, self._hashes = done, arrays, hashes

    def _create(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Create empty arrays for rows like these; remove the record of older ones first."""
        (self._folder / NOTE).unlink(missing_ok=True)
        for name, values in rows.items():
            shape = (self.total, *values.shape[1:])
            self._arrays[name] = _allocate(self._file(name), values.dtype, shape)
            self._hashes[name] = hashlib.sha256()

    def _hash(self, rows: NDArray[Any]) -> Any:
        found = hashlib.sha256()
        if self._is_hashed:
            for start in range(0, len(rows), HASH_BLOCK_ROWS):
                found.update(rows[start : start + HASH_BLOCK_ROWS].tobytes())
        return found

    def _digest(self, name: str) -> str:
        return str(self._hashes[name].hexdigest()) if self._is_hashed else ""

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npy"


def _allocate(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Create an array on disk with all its blocks reserved.

    Writing to a memory map of a sparse file on a full disk kills the process with SIGBUS.

    Raises:
        TrainingError: the disk is too small.
    """
    try:
        array = np.lib.format.open_memmap(file, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)
    except OSError as error:
        file.unlink(missing_ok=True)
        size = math.prod(shape) * dtype.itemsize
        raise TrainingError(
            f"{file} needs {size / 2**20:,.1f} MiB, which the disk refuses: {error.strerror}. Free"
            " some space, or name a folder on another disk by --cache."
        ) from error
    return array
