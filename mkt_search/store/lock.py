"""The write lock of a library: one writer at a time, while readers never wait."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mkt_search import locks
from mkt_search.errors import LibraryLocked, StoreError

LOCK = "writer.lock"


def writer(directory: Path) -> str | None:
    """Return who writes to the library now, None when nobody does."""
    return locks.holder(directory / LOCK)


def being_written(what: str, holder: locks.LockHeld) -> LibraryLocked:
    """Return the error of a second writer, which names the first."""
    return LibraryLocked(
        f"{what} is being written by {holder}. "
        "Wait until it has finished, or stop it; searching works meanwhile."
    )


@contextmanager
def write_lock(directory: Path, command: str) -> Iterator[None]:
    """Keep other writers out while the block runs.

    Args:
        directory: the library's folder.
        command: what the writer runs, for the error messages of others.

    Raises:
        LibraryLocked: another process writes; the text names its command, pid and host.
        StoreError: the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(directory / LOCK, command))
        except locks.LockHeld as holder:
            raise being_written(str(directory), holder) from None
        except OSError as error:
            raise StoreError(f"Cannot write to {directory}: {error.strerror}.") from error
        yield
