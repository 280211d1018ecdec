"""Errors of the disk as sentences with a way out."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkt_search.errors import StoreError


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
        raise StoreError(f"Cannot write to {directory}: {error.strerror}.") from error
