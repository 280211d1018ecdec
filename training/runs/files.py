"""Files and locks of a run, with errors that say how to continue it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mkt_search import locks
from mkt_search.errors import TrainingError
from mkt_search.files import write_atomically
from mkt_search.locks import LockHeld

LOCK = "train.lock"


def save(path: Path, data: bytes | memoryview | str) -> None:
    """Replace a file of a run as a whole.

    Raises:
        TrainingError: it cannot be written; the old content is still there.
    """
    try:
        write_atomically(path, data)
    except OSError as error:
        raise TrainingError(
            f"{path} cannot be written: {error.strerror or error}. Fix that and run the same"
            " command again; it continues after the last saved epoch."
        ) from error


@contextlib.contextmanager
def hold(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, made where it is missing, while the block runs.

    Raises:
        TrainingError: another process works there, and `wait` is False.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locks.hold(folder / LOCK, "mkt train", wait=wait):
            yield
    except LockHeld as holder:
        raise TrainingError(
            f"{holder} is training in {folder}. Wait for it, or give another --out."
        ) from None
