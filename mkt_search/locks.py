"""Locks between processes, released when their holder dies, with a note of who the holder is.

The note lies beside the lock: `writer.lock` and `writer.json`. It is only for error messages; the
lock works without it. A holder also holds a second lock, `writer.held`, so that one can ask whether
there is a holder by trying that: taking the first for a moment would make others fail.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mkt_search.display import printable
from mkt_search.files import read_bytes

FOREVER = -1  # seconds, as filelock counts
A_MOMENT = 0.2  # seconds; a process that only asks holds the second lock for less
POLL = 0.01  # seconds


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
        with ExitStack() as second:
            with suppress(OSError):  # on a full disk nobody can see the holder
                second.enter_context(_second_lock(path, timeout=FOREVER))
            _leave_note(path, purpose)
            yield
    finally:
        with suppress(OSError):
            _note(path).unlink(missing_ok=True)
        lock.release()


def holder(path: Path) -> str | None:
    """Return who holds the lock now, or None when nobody does. No one fails because of it."""
    try:
        with _second_lock(path, timeout=A_MOMENT):
            return None
    except Timeout:
        return describe_holder(path)
    except OSError:  # a read-only disk: nobody can hold a lock there
        return None


def _second_lock(path: Path, *, timeout: float) -> AbstractContextManager[object]:
    second = FileLock(path.with_suffix(".held"))
    return second.acquire(timeout=timeout, poll_interval=POLL)


def describe_process(purpose: str) -> str:
    """Return how this process describes itself as a holder."""
    return f"`{purpose}` (pid {os.getpid()} on {socket.gethostname()})"


def describe_holder(path: Path) -> str:
    """Return what the note says of the holder, or "another process" when it cannot be read."""
    try:
        note = json.loads(read_bytes(_note(path)))
        who = f"`{note['command']}` (pid {note['pid']} on {note['host']}, since {note['since']})"
        return printable(who)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
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
