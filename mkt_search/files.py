"""Read and write files with care.

Reading never waits for a pipe or a device, and takes no more memory than its bound. A crash or a
power cut while writing leaves the old content or the new one, never a mix.
"""

import errno
import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from mkt_search.errors import MktError
from mkt_search.portable import IS_WINDOWS, replace, sync

NOT_REGULAR = "not a regular file"
SMALL = 1 << 20
"""Bytes of settings and descriptions, which people write or mkt writes for them."""


def open_regular(path: Path, *, follow_links: bool = True) -> BufferedReader:
    """Open a regular file for reading; a pipe, a device or a folder is refused at once.

    Args:
        path: the file.
        follow_links: False refuses a symbolic link too.

    Raises:
        OSError: there is no such file, it cannot be read, or it is of another kind.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
        if IS_WINDOWS and path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if IS_WINDOWS and path.is_dir():  # would be refused as if permission was lacking
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, *, at_most: int = SMALL) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: as `open_regular`, or it has more than `at_most` bytes.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size <= at_most:
            data = file.read(at_most + 1)  # some systems give the size of a file as 0
            if len(data) <= at_most:
                return data
    raise OSError(errno.EFBIG, f"larger than {at_most:,} bytes", str(path))


def read_text(
    path: Path, error: type[MktError], *, at_most: int = SMALL, shown: str | None = None
) -> str:
    """Return the text of a regular file in UTF-8, without a byte order mark.

    Args:
        path: the file.
        error: what is raised.
        at_most: the bytes that the file may have.
        shown: its name in an error; by default the path.

    Raises:
        MktError: the given error: the file cannot be read, is too large or of another kind, or is
            not UTF-8; the text names the line.
    """
    shown = str(path) if shown is None else shown
    try:
        return read_bytes(path, at_most=at_most).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise error(f"{shown}:{line}: not UTF-8 text; save it as UTF-8") from None
    except OSError as problem:
        raise error(f"{shown}: cannot be read ({problem.strerror or problem})") from problem
    except ValueError as problem:  # a NUL in the name
        raise error(f"{shown!r} is not the name of a file ({problem})") from None


def write_atomically(path: Path, data: bytes | memoryview | str) -> None:
    """Replace the content of `path`; text is written as UTF-8.

    The data goes to `<name>.tmp` beside the file, is synced to disk and renamed; then the folder is
    synced. Two processes that may write the same file need a lock around this call.

    Raises:
        OSError: the data cannot be written; the old content is still there.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with open(temporary, "xb") as file:  # "x": never through a link that lies there
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)
