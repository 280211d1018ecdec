"""Label assignments on their way to the database: a nameless temporary file in the library.

Scoring a large library takes minutes. Assignments wait in the file, so that the database is locked
only for one short transaction at the end. The system deletes the file when the process ends.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.disk import disk_errors

RECORD = np.dtype([("content", "<i8"), ("label", "<i4"), ("score", "<f4"), ("p", "<f4")])

Records = NDArray[np.void]


class SpillFile:
    """Records (content id, label number, score, p), appended once and then read in the same order.

    p is NaN where it is not known.

    Methods raise StoreError when the disk is full or cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        """Open a file in the library's folder."""
        self._directory = directory
        self._count = 0
        with disk_errors(directory):
            self._file = tempfile.TemporaryFile(dir=directory)

    def __len__(self) -> int:
        """Count the records."""
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # a full disk was reported by `add` or `pieces`
            self._file.close()

    def add(
        self,
        contents: NDArray[Any],
        labels: NDArray[Any],
        scores: NDArray[Any],
        p: NDArray[Any] | None = None,
    ) -> None:
        """Append n records given as columns (n,)."""
        records = np.empty(len(contents), RECORD)
        records["content"], records["label"], records["score"] = contents, labels, scores
        records["p"] = np.nan if p is None else p
        with disk_errors(self._directory):
            self._file.write(records.tobytes())
        self._count += len(records)

    def pieces(self, most: int) -> Iterator[Records]:
        """Yield all records, at most `most` at a time."""
        with disk_errors(self._directory):
            self._file.seek(0)  # flushes, so this may fail
        while True:
            with disk_errors(self._directory):
                data = self._file.read(most * RECORD.itemsize)
            if not data:
                return
            yield np.frombuffer(data, RECORD)
