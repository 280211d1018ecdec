"""What the machine gives: programs, room on the disk, and limits of the system."""

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mkt_search.display import byte_size, printable
from mkt_search.doctor.finding import Finding

LITTLE_ROOM = 2_000_000_000  # bytes: a model and the vectors of some 100,000 photos
LITTLE_MEMORY = 4_000_000_000  # bytes: torch, a CLIP and a batch of photos
FEW_FILES = 1_024  # a library may keep a few hundred open
FEW_WATCHES = 65_536  # folders
WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
SECONDS = 20.0
"""How long another program may take to say its version."""


def system() -> Iterator[Finding]:
    """Yield the system, its processors and its memory."""
    name = f"{platform.system()} {platform.release()}, {platform.machine()}"
    memory = memory_bytes()
    shown = f"{name}, {os.cpu_count()} processors, {byte_size(memory)} of memory"
    if 0 < memory < LITTLE_MEMORY:
        fix = "take a small model (`mkt models`) and a small --batch-size"
        yield Finding("system", "note", f"{shown}; a large model may not fit", fix)
    else:
        yield Finding("system", "ok", shown if memory else name)
    yield Finding("SQLite", "ok", sqlite3.sqlite_version)
    encoding = sys.getfilesystemencoding()
    if encoding.lower() != "utf-8":
        fix = "set PYTHONUTF8=1"
        yield Finding("text", "note", f"names of files are read as {encoding}, not UTF-8", fix)


def memory_bytes() -> int:
    """Return the memory of the machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0


def programs() -> Iterator[Finding]:
    """Yield the programs of others that MKT search uses where they are."""
    place = shutil.which("exiftool")
    if place is None:
        fix = "install exiftool if you want tags in the photos themselves"
        yield Finding("exiftool", "absent", "writes tags into the files of photos", fix)
        return
    try:
        command = [place, "-ver"]
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
        version = done.stdout.decode("utf-8", "replace").strip()
        yield Finding("exiftool", "ok", f"{printable(version)} at {place}")
    except (OSError, subprocess.SubprocessError) as problem:
        yield Finding("exiftool", "problem", f"{place} does not run: {problem}", "install it again")


def room(folders: dict[str, Path]) -> Iterator[Finding]:
    """Yield the free room of the disks.

    Args:
        folders: folders to write to, by what they are for; one may not exist yet.
    """
    for purpose, folder in {**folders, "temporary files": Path(tempfile.gettempdir())}.items():
        existing = next(place for place in (folder, *folder.parents) if place.is_dir())
        free = shutil.disk_usage(existing).free
        shown = f"{byte_size(free)} free for {purpose} ({printable(folder)})"
        if not os.access(existing, os.W_OK):
            yield Finding("disk", "note", f"{shown}; it cannot be written", "allow writing there")
        elif free < LITTLE_ROOM:
            yield Finding("disk", "note", f"{shown}; that is little", "free some space")
        else:
            yield Finding("disk", "ok", shown)


def limits() -> Iterator[Finding]:
    """Yield limits that large libraries reach."""
    yield from _open_files()
    yield from watches(WATCHES)
    yield from _long_paths()


def _open_files() -> Iterator[Finding]:
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # a library raises the soft limit when it needs to
    shown = "no limit" if hard == resource.RLIM_INFINITY else f"{soft:,}, at most {hard:,}"
    if hard != resource.RLIM_INFINITY and hard < FEW_FILES:
        yield Finding("open files", "note", shown, f"raise it with `ulimit -Hn {FEW_FILES}`")
    else:
        yield Finding("open files", "ok", shown)


def watches(file: Path) -> Iterator[Finding]:
    """Yield how many folders Linux can watch for changes; nothing on other systems."""
    if not file.exists():
        return
    count = int(file.read_text())
    if count < FEW_WATCHES:
        fix = f"sudo sysctl fs.inotify.max_user_watches={8 * FEW_WATCHES}"
        yield Finding("watched folders", "note", f"at most {count:,}", fix)
    else:
        yield Finding("watched folders", "ok", f"at most {count:,}")


def _long_paths() -> list[Finding]:
    """Return whether Windows opens paths of more than 260 characters; nothing elsewhere."""
    if sys.platform == "win32":
        import winreg

        place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            is_on, _ = winreg.QueryValueEx(key, "LongPathsEnabled")
        if is_on:
            return [Finding("long paths", "ok", "more than 260 characters are allowed")]
        fix = "set LongPathsEnabled in the registry to 1"
        return [Finding("long paths", "note", "paths of at most 260 characters", fix)]
    return []
