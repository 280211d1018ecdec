"""What Windows does in another way than Linux and macOS, in one place.

Windows refuses to replace or delete a file that a process has open or mapped, be it a virus
scanner; it syncs only files that are open for writing, and no folders; and a path may begin with a
drive.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePath

IS_WINDOWS = sys.platform == "win32"
WAITS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds between attempts on Windows; a scanner or a reader is done by then."""


def replace(source: Path, target: Path, *, waits: Sequence[float] = WAITS * IS_WINDOWS) -> None:
    """Rename a file over another one, as one step.

    Args:
        source: the file.
        target: its new name.
        waits: seconds to wait after each refusal, on Windows.

    Raises:
        OSError: it cannot be renamed.
    """
    for wait in waits:
        try:
            return os.replace(source, target)
        except PermissionError:
            time.sleep(wait)
    os.replace(source, target)


def remove(path: Path, *, may_be_kept: bool = IS_WINDOWS) -> bool:
    """Delete a file that nothing needs any more; return whether it is gone.

    Args:
        path: the file; it may be gone already.
        may_be_kept: leave a file that the system does not give up, because a process reads it. The
            caller deletes it another time.

    Raises:
        OSError: it cannot be deleted.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError:
        if may_be_kept and path.is_file():
            return False
        raise
    return True


def sync(path: Path) -> None:
    """Write a file, or the names in a folder, from the memory of the system to the disk.

    On Windows a rename is durable by itself, so folders are left as they are.

    Raises:
        OSError: the disk refuses.
    """
    if IS_WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if IS_WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def leads_out(path: PurePath) -> bool:
    """Return True unless a path stays below the folder that it is joined to.

    On Windows `C:a`, and names with a backslash, lead elsewhere.
    """
    return bool(path.anchor) or ".." in path.parts
