"""Write files so that a crash or a power cut leaves the old content or the new one, never a mix."""

import os
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, data: bytes | memoryview | str) -> None:
    """Replace the content of `path`; text is written as UTF-8.

    The data goes to `<name>.tmp` beside the file, is synced to disk and renamed; then the folder is
    synced. Two processes that may write the same file need a lock around this call.

    Raises:
        OSError: the data cannot be written; the old content is still there.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as its files.

    Needed on POSIX only; on Windows a rename is durable by itself.
    """
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
