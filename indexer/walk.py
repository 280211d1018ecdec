"""Find the photos in a folder, in a fixed order.

First the folders themselves are visited, in the order of their names, then those that symbolic
links lead to, each of them once. A folder is known by its device and inode only where a link led
there: some network file systems give many folders the same. A file whose name has no suffix is a
photo if it begins like one. Beside these only `.mktignore` is opened; the loader refuses files that
only have the name of a photo (a pipe, a broken link).
"""

import contextlib
import os
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from indexer.exclude import BY_FILE, IGNORE_FILE, Exclusions
from mkt_search.errors import ConfigError
from mkt_search.files import open_regular
from mkt_search.paths import path_to_text
from mkt_search.photos.formats import SNIFFED_BYTES, SUFFIXES, sniff
from mkt_search.types import LeftOut, PhotoFile

LIBRARY_FOLDER = ".mkt"

HIDDEN_FOLDER = "hidden folder"
HIDDEN_FILE = "hidden photo"
LINK_OUT = "link out of the folder"
SEEN_FOLDER = "link to a folder already visited"
OTHER_FILE = "not a photo"
UNREADABLE = "unreadable folder"

INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class WalkRules:
    """What a walk takes.

    hidden: files and folders whose names begin with a dot.
    follow_links: what links lead to outside of the root.
    exclude: patterns as in .gitignore, relative to the root, of what is left out.
    """

    hidden: bool = False
    follow_links: bool = False
    exclude: tuple[str, ...] = ()


DEFAULT_RULES = WalkRules()


@dataclass(frozen=True)
class Folder:
    """A folder to visit.

    `below` is its path below the root, with a "/" at the end, `absolute` that on disk; `is_linked`
    is True if a link led to it or to a folder above it.
    """

    below: str
    absolute: str
    exclusions: Exclusions
    is_linked: bool = False


@dataclass
class Walk:
    """One walk over a folder, or a single photo: iterate over it once to get its PhotoFiles.

    After the iteration `skipped` counts what was left out by reason, `unreadable` has the reason
    for each folder that could not be read, and `ignored` has what `.mktignore` files name: paths
    relative to the root, those of folders with a "/" at the end.

    Args:
        top: the folder or the photo, inside `root`.
        root: what the paths of the photos are relative to.
        rules: what to take.
        suffixes: of photos, in lower case.
    """

    top: Path
    root: Path
    rules: WalkRules = DEFAULT_RULES
    suffixes: Collection[str] = SUFFIXES
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()
        self._linked: deque[Folder] = deque()
        self._real_root = Path(os.path.realpath(self.root))

    def __iter__(self) -> Iterator[PhotoFile]:
        """Yield the photos.

        Raises:
            ConfigError: there is no such folder or photo, or a pattern is not valid.
        """
        return (item for item in self._items() if isinstance(item, PhotoFile))

    def left_out(self) -> Iterator[LeftOut]:
        """Yield what is left out instead of the photos. Raises as iterating does."""
        return (item for item in self._items() if isinstance(item, LeftOut))

    def _items(self) -> Iterator[PhotoFile | LeftOut]:
        if not self.top.is_dir():
            yield self._single()
            return
        yield from self._visit(self._first())
        while self._linked:
            yield from self._visit(self._linked.popleft())

    def _single(self) -> PhotoFile:
        if not os.path.lexists(self.top):
            raise ConfigError(f"there is no folder or photo {path_to_text(self.top)}")
        if not (self._is_named_as_photo(self.top.name) or begins_as_photo(self.top)):
            raise ConfigError(
                f"{path_to_text(self.top)} is not a photo that can be read; those end in "
                f"{' '.join(sorted(self.suffixes))}"
            )
        try:
            about = os.stat(self.top)
        except OSError as problem:
            raise ConfigError(f"{path_to_text(self.top)}: {reason(problem)}") from None
        below = path_to_text(self.top.relative_to(self.root))
        return PhotoFile(self.root, below, self.top, about.st_size, modified_ns(about))

    def _first(self) -> Folder:
        """Return the top, with the patterns of the folders from the root down to it."""
        folder = Folder("", str(self.root), Exclusions.of(self.rules.exclude))
        for name in self.top.relative_to(self.root).parts:
            if os.path.lexists(os.path.join(folder.absolute, IGNORE_FILE)):
                try:
                    folder = _with_patterns(folder)
                except ConfigError as problem:
                    shown = path_to_text(folder.absolute)
                    raise ConfigError(f"{shown} is left out: {problem}") from None
            absolute = os.path.join(folder.absolute, name)
            folder = replace(folder, below=f"{folder.below}{name}/", absolute=absolute)
        return folder

    def _visit(self, top: Folder) -> Iterator[PhotoFile | LeftOut]:
        """Yield what is in a folder and in all real folders below it, depth first."""
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                if self._is_seen(folder):
                    yield self._leave_out(folder.absolute, SEEN_FOLDER)
                    continue
                entries = _entries(folder)
                if any(entry.name == IGNORE_FILE for entry in entries):
                    folder = _with_patterns(folder)
            except (OSError, ConfigError) as problem:
                yield self._unreadable(folder, problem)
                continue
            inner: list[Folder] = []
            for entry in entries:
                is_folder = _is_folder(entry)
                if is_folder and entry.name == LIBRARY_FOLDER:
                    continue
                why = self._why_left_out(folder, entry, is_folder=is_folder)
                if why == BY_FILE:
                    below = path_to_text(os.fsencode(folder.below + entry.name))
                    self.ignored.add(f"{below}/" if is_folder else below)
                if why is not None:
                    yield self._leave_out(entry.path, why)
                elif is_folder:
                    inner += self._inner(folder, entry)
                else:
                    yield self._described(folder, entry)
            folders += reversed(inner)

    def _is_seen(self, folder: Folder) -> bool:
        """Return True if a link led to a folder that was visited; else note that it is now."""
        about = os.stat(folder.absolute)
        identity = (about.st_dev, about.st_ino)
        if folder.is_linked and identity in self._seen:
            return True
        self._seen.add(identity)
        return False

    def _why_left_out(
        self, folder: Folder, entry: os.DirEntry[str], *, is_folder: bool
    ) -> str | None:
        is_named = is_folder or self._is_named_as_photo(entry.name)
        if not is_named and "." in entry.name:
            return OTHER_FILE
        why = folder.exclusions.why(folder.below + entry.name, is_folder=is_folder)
        if why is not None:
            return why
        if entry.name.startswith(".") and not self.rules.hidden:
            return HIDDEN_FOLDER if is_folder else HIDDEN_FILE
        if not self.rules.follow_links and _is_link(entry) and self._leads_out(entry):
            return LINK_OUT
        return None if is_named or begins_as_photo(Path(entry.path)) else OTHER_FILE

    def _leads_out(self, link: os.DirEntry[str]) -> bool:
        return not Path(os.path.realpath(link.path)).is_relative_to(self._real_root)

    def _inner(self, folder: Folder, entry: os.DirEntry[str]) -> list[Folder]:
        """Return the folder to visit now; none for a link, which is kept for later."""
        inner = replace(folder, below=f"{folder.below}{entry.name}/", absolute=entry.path)
        if _is_link(entry):
            self._linked.append(replace(inner, is_linked=True))
            return []
        return [inner]

    def _leave_out(self, path: str, why: str, detail: str = "") -> LeftOut:
        self.skipped[why] += 1
        return LeftOut(Path(path), f"{why}: {detail}" if detail else why)

    def _unreadable(self, folder: Folder, problem: OSError | ConfigError) -> LeftOut:
        why = reason(problem) if isinstance(problem, OSError) else str(problem)
        self.unreadable[Path(folder.absolute)] = why
        return self._leave_out(folder.absolute, UNREADABLE, why)

    def _described(self, folder: Folder, entry: os.DirEntry[str]) -> PhotoFile:
        """Return the file; one without size and time is left for the loader to refuse."""
        size, mtime_ns = 0, 0
        for is_target in (True, False):  # a broken link has a size and time of its own
            with contextlib.suppress(OSError):
                about = entry.stat(follow_symlinks=is_target)
                size, mtime_ns = about.st_size, modified_ns(about)
                break
        below = path_to_text(os.fsencode(folder.below + entry.name))
        return PhotoFile(self.root, below, Path(entry.path), size, mtime_ns)

    def _is_named_as_photo(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self.suffixes


def begins_as_photo(path: Path) -> bool:
    """Return True if the first bytes of a regular file are those of a photo."""
    try:
        with open_regular(path) as file:
            return sniff(file.read(SNIFFED_BYTES)) is not None
    except OSError:
        return False


def _entries(folder: Folder) -> list[os.DirEntry[str]]:
    """Return a folder's entries, sorted by the bytes of their names."""
    with os.scandir(folder.absolute) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _with_patterns(folder: Folder) -> Folder:
    return replace(folder, exclusions=folder.exclusions.with_file(folder.below, folder.absolute))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_link(entry: os.DirEntry[str]) -> bool:
    is_junction = getattr(entry, "is_junction", None)  # of Windows; known to Python 3.12
    return entry.is_symlink() or (is_junction is not None and is_junction())


def modified_ns(about: os.stat_result) -> int:
    """Return a file's modification time in nanoseconds, limited to what 64 bits can hold.

    A time before 1677 or after 2262 counts as the first or the last of those.
    """
    return max(-INT64_MAX, min(about.st_mtime_ns, INT64_MAX))


def reason(problem: OSError) -> str:
    """Return the system's reason for a failure in lower case, without the path."""
    return (problem.strerror or str(problem)).lower()
