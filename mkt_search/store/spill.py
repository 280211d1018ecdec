"""LabelAssignments on their way to the database: a file without a name, in the library's folder.

Scoring a large library takes minutes; the database is written to only when all is known, in one
short transaction. A kill leaves nothing behind: the system forgets the file with the process.
"""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.store import Store

RECORD = np.dtype([("content", "<i8"), ("label", "<i4"), ("score", "<f4")])

Records = NDArray[np.void]


class SpillFile:
    """Records (content id, label number, score), added once and then read in the same order.

    Raises StoreError when the disk is full or cannot be written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._count = 0
        with store.writing_files():
            self._file = tempfile.TemporaryFile(dir=store.directory)

    def __len__(self) -> int:
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # a full disk, told already
            self._file.close()

    def add(self, contents: NDArray[Any], labels: NDArray[Any], scores: NDArray[Any]) -> None:
        """Append records given as columns."""
        records = np.empty(len(contents), RECORD)
        records["content"], records["label"], records["score"] = contents, labels, scores
        with self._store.writing_files():
            self._file.write(records.tobytes())
        self._count += len(records)

    def pieces(self, most: int) -> Iterator[Records]:
        """Yield all records, at most so many at a time."""
        with self._store.writing_files():
            self._file.seek(0)  # what is still on its way to the disk may be refused here
        while True:
            with self._store.writing_files():
                data = self._file.read(most * RECORD.itemsize)
            if not data:
                return
            yield np.frombuffer(data, RECORD)
