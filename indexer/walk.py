"""Find the photos under a folder, in an order that is always the same.

Every real folder is visited once: the folders themselves first, in order of their names, then the
folders that symbolic links lead to. No file is opened: one that is called a photo and is none (a
pipe, a link to nothing) is for the loader to refuse. What is left out is counted by its reason in
`Walk.skipped`.
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
class Place:
    """A folder to visit: its path below the root, with a "/" at its end, and on disk."""

    below: str
    absolute: str


@dataclass
class Walk:
    """One walk below `top`, a folder or a single photo: iterate over it once to get its PhotoFiles.

    Args:
        top: the folder or the photo, inside `root` as it is spelled there.
        root: what the paths of the photos are relative to.
        hidden: visit files and folders whose names begin with a dot.

    After the iteration `skipped` counts what was left out by reason, and `unreadable` names the
    folders that the system would not show, each with its reason.
    """

    top: Path
    root: Path
    hidden: bool = False
    suffixes: Collection[str] = SUFFIXES
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._linked: deque[Place] = deque()

    def __iter__(self) -> Iterator[PhotoFile]:
        """Yield the photos. Raises ConfigError when there is no such folder or photo."""
        if not self.top.is_dir():
            yield self._single()
            return
        below = "" if self.root == self.top else f"{self.top.relative_to(self.root).as_posix()}/"
        yield from self._visit(Place(below, str(self.top)))
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

    def _visit(self, top: Place) -> Iterator[PhotoFile]:
        """Yield the photos of a folder and of all real folders below it, depth first."""
        places = [top]
        while places:
            place = places.pop()
            folders = []
            for entry in self._entries(place):
                if self._is_folder(entry):
                    folders += self._inner(place, entry)
                else:
                    yield from self._photo(place, entry)
            places += reversed(folders)

    def _entries(self, place: Place) -> list[os.DirEntry[str]]:
        """Return what a folder holds, sorted by the bytes of the names; [] for one seen before."""
        try:
            about = os.stat(place.absolute)
            identity = (about.st_dev, about.st_ino)
            if identity in self._seen:
                self.skipped[SEEN_FOLDER] += 1
                return []
            self._seen.add(identity)
            with os.scandir(place.absolute) as entries:
                return sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as problem:
            self.skipped[UNREADABLE] += 1
            self.unreadable[Path(place.absolute)] = reason(problem)
            return []

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError:  # a link that leads to itself
            return False

    def _inner(self, place: Place, entry: os.DirEntry[str]) -> list[Place]:
        """Return a folder as a place to visit now; keep a linked one for later, no hidden ones."""
        if entry.name == LIBRARY_FOLDER:
            return []
        if self._is_hidden(entry):
            self.skipped[HIDDEN_FOLDER] += 1
            return []
        inner = Place(f"{place.below}{entry.name}/", entry.path)
        if entry.is_symlink():
            self._linked.append(inner)
            return []
        return [inner]

    def _photo(self, place: Place, entry: os.DirEntry[str]) -> Iterator[PhotoFile]:
        if not self._is_photo(entry.name):
            self.skipped[OTHER_FILE] += 1
        elif self._is_hidden(entry):
            self.skipped[HIDDEN_FILE] += 1
        else:
            yield self._described(place, entry)

    def _described(self, place: Place, entry: os.DirEntry[str]) -> PhotoFile:
        """Return the file; one that cannot even be asked after is left for the loader to refuse."""
        size, mtime_ns = 0, 0
        for is_target in (True, False):  # a link that leads nowhere is described by itself
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=is_target)
                size, mtime_ns = about.st_size, about.st_mtime_ns
                break
        below = path_to_text(os.fsencode(place.below + entry.name))
        return PhotoFile(self.root, below, Path(entry.path), size, mtime_ns)

    def _is_hidden(self, entry: os.DirEntry[str]) -> bool:
        return entry.name.startswith(".") and not self.hidden

    def _is_photo(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self.suffixes


def reason(problem: OSError) -> str:
    """Return the system's own words for a failure, lower case, without the path."""
    return (problem.strerror or str(problem)).lower()
