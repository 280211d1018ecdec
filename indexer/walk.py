"""Find the photos in a folder, in a fixed order.

Every real folder is visited once: first the folders themselves, in the order of their names, then
those that symbolic links lead to. No file is opened; the loader refuses files that only have the
name of a photo (a pipe, a broken link). `Walk.skipped` counts what is left out, by reason.
"""

import contextlib
import os
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mkt_search.errors import ConfigError
from mkt_search.paths import path_to_text
from mkt_search.photos.formats import SUFFIXES
from mkt_search.types import PhotoFile

LIBRARY_FOLDER = ".mkt"

HIDDEN_FOLDER = "hidden folder"
HIDDEN_FILE = "hidden photo"
SEEN_FOLDER = "link to a folder already visited"
OTHER_FILE = "not a photo"
UNREADABLE = "unreadable folder"


@dataclass(frozen=True)
class Folder:
    """A folder to visit: its path below the root, with a "/" at the end, and its path on disk."""

    below: str
    absolute: str


@dataclass
class Walk:
    """One walk over a folder, or a single photo: iterate over it once to get its PhotoFiles.

    After the iteration `skipped` counts what was left out by reason, and `unreadable` has the
    reason for each folder that could not be read.

    Args:
        top: the folder or the photo, inside `root`.
        root: what the paths of the photos are relative to.
        hidden: visit files and folders whose names begin with a dot.
        suffixes: of photos, in lower case.
    """

    top: Path
    root: Path
    hidden: bool = False
    suffixes: Collection[str] = SUFFIXES
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._linked: deque[Folder] = deque()

    def __iter__(self) -> Iterator[PhotoFile]:
        """Yield the photos. Raises ConfigError if there is no such folder or photo."""
        if not self.top.is_dir():
            yield self._single()
            return
        below = "" if self.root == self.top else f"{self.top.relative_to(self.root).as_posix()}/"
        yield from self._visit(Folder(below, str(self.top)))
        while self._linked:
            yield from self._visit(self._linked.popleft())

    def _single(self) -> PhotoFile:
        if not os.path.lexists(self.top):
            raise ConfigError(f"there is no folder or photo {path_to_text(self.top)}")
        if not self._is_photo(self.top.name):
            raise ConfigError(
                f"{path_to_text(self.top)} is not a photo that can be read; those end in "
                f"{' '.join(sorted(self.suffixes))}"
            )
        try:
            about = os.stat(self.top)
        except OSError as problem:
            raise ConfigError(f"{path_to_text(self.top)}: {reason(problem)}") from None
        below = path_to_text(self.top.relative_to(self.root))
        return PhotoFile(self.root, below, self.top, about.st_size, about.st_mtime_ns)

    def _visit(self, top: Folder) -> Iterator[PhotoFile]:
        """Yield the photos of a folder and of all real folders below it, depth first."""
        folders = [top]
        while folders:
            folder = folders.pop()
            inner = []
            for entry in self._entries(folder):
                if self._is_folder(entry):
                    inner += self._inner(folder, entry)
                else:
                    yield from self._photo(folder, entry)
            folders += reversed(inner)

    def _entries(self, folder: Folder) -> list[os.DirEntry[str]]:
        """Return a folder's entries, sorted by the bytes of their names; [] if seen before."""
        try:
            about = os.stat(folder.absolute)
            identity = (about.st_dev, about.st_ino)
            if identity in self._seen:
                self.skipped[SEEN_FOLDER] += 1
                return []
            self._seen.add(identity)
            with os.scandir(folder.absolute) as entries:
                return sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as problem:
            self.skipped[UNREADABLE] += 1
            self.unreadable[Path(folder.absolute)] = reason(problem)
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:  # a link that leads to itself
            return False

    def _inner(self, folder: Folder, entry: os.DirEntry[str]) -> list[Folder]:
        """Return the folder to visit now, if any; a link is kept for later."""
        if entry.name == LIBRARY_FOLDER:
            return []
        if self._is_hidden(entry):
            self.skipped[HIDDEN_FOLDER] += 1
            return []
        inner = Folder(f"{folder.below}{entry.name}/", entry.path)
        if entry.is_symlink():
            self._linked.append(inner)
            return []
        return [inner]

    def _photo(self, folder: Folder, entry: os.DirEntry[str]) -> Iterator[PhotoFile]:
        if not self._is_photo(entry.name):
            self.skipped[OTHER_FILE] += 1
        elif self._is_hidden(entry):
            self.skipped[HIDDEN_FILE] += 1
        else:
            yield self._described(folder, entry)

    def _described(self, folder: Folder, entry: os.DirEntry[str]) -> PhotoFile:
        """Return the file; one without size and time is left for the loader to refuse."""
        size, mtime_ns = 0, 0
        for is_target in (True, False):  # a broken link has a size and time of its own
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=is_target)
                size, mtime_ns = about.st_size, about.st_mtime_ns
                break
        below = path_to_text(os.fsencode(folder.below + entry.name))
        return PhotoFile(self.root, below, Path(entry.path), size, mtime_ns)

    def _is_hidden(self, entry: os.DirEntry[str]) -> bool:
        return entry.name.startswith(".") and not self.hidden

    def _is_photo(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self.suffixes


def reason(problem: OSError) -> str:
    """Return the system's reason for a failure in lower case, without the path."""
    return (problem.strerror or str(problem)).lower()
