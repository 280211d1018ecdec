"""Locks between processes, released when their holder dies, with a note of who the holder is.

The note lies beside the lock: `writer.lock` and `writer.json`. It is only for error messages; the
lock works without it.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

FOREVER = -1  # seconds, as filelock counts


class LockHeld(Exception):
    """Another process holds the lock; the text describes it, ready to be part of a sentence."""


@contextmanager
def hold(path: Path, purpose: str, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out while the block runs.

    Args:
        path: the lock file, such as `writer.lock`; its folder must exist.
        purpose: what the holder does, for the error message of others: a command.
        wait: wait for the lock instead of raising `LockHeld`.

    Raises:
        LockHeld: another process holds the lock.
        OSError: the lock file cannot be written.
    """
    lock = FileLock(path, timeout=FOREVER if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        raise LockHeld(describe_holder(path)) from None
    try:
        _leave_note(path, purpose)
        yield
    finally:
        with suppress(OSError):
            _note(path).unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str | None:
    """Return who holds the lock now, or None when nobody does."""
    try:
        with FileLock(path, timeout=0):
            return None
    except Timeout:
        return describe_holder(path)
    except OSError:  # a read-only disk: nobody can hold a lock there
        return None


def describe_holder(path: Path) -> str:
    """Return what the note says of the holder, or "another process" when it cannot be read."""
    try:
        note = json.loads(_note(path).read_text(encoding="utf-8"))
        return f"`{note['command']}` (pid {note['pid']} on {note['host']}, since {note['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _leave_note(path: Path, purpose: str) -> None:
    note = {
        "command": purpose,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
    }
    with suppress(OSError):  # on a full disk the lock is held without a note
        _note(path).write_text(json.dumps(note), encoding="utf-8")


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
