"""Errors of the disk as sentences with a way out."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkt_search.errors import StoreError

ROOM = 1 << 22  # bytes that a small transaction of the database needs on the disk


def is_full(directory: Path) -> bool:
    """Return whether the disk has no room for a small transaction."""
    return shutil.disk_usage(directory).free < ROOM


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn an OSError while files of a library are written into a StoreError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                f"The disk with {directory} is full; what was committed before is safe. "
                "Free some space and run the command again."
            ) from error
        if error.errno == errno.EISDIR:
            name = error.filename2 or error.filename
            raise StoreError(
                f"{name} is a folder, where a file of the library belongs. Move it away and run "
                "the command again."
            ) from error
        raise StoreError(f"Cannot write to {directory}: {error.strerror}.") from error
