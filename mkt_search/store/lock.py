"""One writer at a time: a lock the kernel frees when its holder dies, and a note of who it is."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mkt_search.errors import LibraryLocked, StoreError

LOCK = "writer.lock"
NOTE = "writer.json"


def describe(directory: Path) -> str:
    """Return who is said to be writing, or "another process" when the note cannot be read."""
    try:
        note = json.loads((directory / NOTE).read_text())
        return f"`{note['command']}` (pid {note['pid']} on {note['host']}, since {note['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def writer(directory: Path) -> str | None:
    """Return who is writing to the library now, None when nobody is."""
    try:
        with FileLock(directory / LOCK, timeout=0):
            return None
    except Timeout:
        return describe(directory)
    except OSError:  # a library on a read-only disk has no writer
        return None


def _leave_note(path: Path, command: str) -> None:
    note = {
        "command": command,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
    }
    with suppress(OSError):  # a full disk: the lock holds without, and `mkt prune` must still run
        path.write_text(json.dumps(note))


@contextmanager
def writing(directory: Path, command: str) -> Iterator[None]:
    """Hold the library for writing while the block runs.

    Raises:
        LibraryLocked: another process holds it; the text names its command, pid and host.
        StoreError: the folder cannot be written.
    """
    lock = FileLock(directory / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise LibraryLocked(
            f"{directory} is being written by {describe(directory)}. "
            "Wait until it has finished, or stop it; searching works meanwhile."
        ) from None
    except OSError as error:
        raise StoreError(f"Cannot write to {directory}: {error.strerror}.") from error
    try:
        _leave_note(directory / NOTE, command)
        yield
    finally:
        (directory / NOTE).unlink(missing_ok=True)
        lock.release()
