"""Compare the photos on disk with what the library records; reads no photo and writes nothing."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from indexer.walk import DEFAULT_RULES, Walk, WalkRules
from mkt_search.errors import ConfigError
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.photos.formats import SUFFIXES
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import KnownPhoto, RootLocation
from mkt_search.store.store import Store
from mkt_search.types import LeftOut, PhotoFile

SCANNING = "finding photos"
REPORT_EVERY_PHOTOS = 1_000
GONE_FOLDER = "the folder does not exist now"


class FileStatus(Enum):
    """How a file on disk compares with its row in the library."""

    NEW = "new"
    CHANGED = "changed"
    CHECKED = "size and time as before, bytes read again"
    UNENCODED = "without vectors"
    WITHOUT_MINIATURE = "tagged by hand, without a miniature"
    RETRIED = "failed before, tried again"
    FAILED = "failed before"
    RETURNED = "missing before, found again"
    UNCHANGED = "unchanged"


MUST_LOAD = {
    FileStatus.NEW,
    FileStatus.CHANGED,
    FileStatus.CHECKED,
    FileStatus.UNENCODED,
    FileStatus.WITHOUT_MINIATURE,
    FileStatus.RETRIED,
}


def classify(
    file: PhotoFile, known: KnownPhoto | None, *, retry: bool = False, check_content: bool = False
) -> FileStatus:
    """Compare a file with its row by size and modification time.

    Args:
        file: the file on disk.
        known: its row; None if there is none.
        retry: try files again that could not be read before.
        check_content: read every file, as its bytes may differ at the same size and time.
    """
    if known is None:
        return FileStatus.NEW
    if (known.size, known.mtime_ns) != (file.size, file.mtime_ns):
        return FileStatus.CHANGED
    if check_content:
        return FileStatus.CHECKED
    if known.state == "failed":
        return FileStatus.RETRIED if retry else FileStatus.FAILED
    if not known.has_vectors:
        return FileStatus.UNENCODED
    if known.lacks_miniature:
        return FileStatus.WITHOUT_MINIATURE
    return FileStatus.RETURNED if known.state == "missing" else FileStatus.UNCHANGED


@dataclass(frozen=True)
class ScanTarget:
    """A folder, or one photo, to scan.

    `location` is its place below a root of the library, `known` the rows of the photos below it, by
    path relative to the root.
    """

    location: RootLocation
    top: Path
    known: dict[str, KnownPhoto]
    rules: WalkRules = DEFAULT_RULES
    retry: bool = False
    check_content: bool = False

    def walk(self) -> Walk:
        """Return a new walk over the target."""
        return Walk(self.top, self.location.path, self.rules)

    def compare(self, file: PhotoFile) -> FileStatus:
        """Compare a file with its row."""
        known = self.known.get(file.path)
        return classify(file, known, retry=self.retry, check_content=self.check_content)

    def to_load(self) -> Iterator[PhotoFile]:
        """Walk, and yield the files that must be loaded."""
        for file in self.walk():
            if self.compare(file) in MUST_LOAD:
                yield file


@dataclass
class ScanResult:
    """What a scan found below its target.

    `vanished` are the known photos whose files are gone or ignored, by path; `returned` the files
    that were marked missing and exist again, with their photo ids. `skipped` counts what was left
    out by reason, `unreadable` gives the reason for each folder that cannot be read.
    """

    target: ScanTarget
    statuses: Counter[FileStatus] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)
    vanished: dict[str, KnownPhoto] = field(default_factory=dict)
    returned: list[tuple[int, PhotoFile]] = field(default_factory=list)

    @property
    def photos(self) -> int:
        """How many photos were found."""
        return self.statuses.total()

    @property
    def to_load(self) -> int:
        """How many of them must be loaded."""
        return sum(self.statuses[status] for status in MUST_LOAD)


def scan_folders(
    store: Store,
    folders: Sequence[Path],
    stored: StoredEncoding | None,
    *,
    rules: WalkRules = DEFAULT_RULES,
    retry: bool = False,
    check_content: bool = False,
    progress: ProgressCallback = no_progress,
) -> list[ScanResult]:
    """Scan folders or single photos; without any, every folder of the library.

    A folder inside another one is scanned with that. If all folders of the library are scanned, one
    without photos is left out and reported.

    Args:
        store: the library, which is only read.
        folders: what to scan.
        stored: the encoding whose vectors a photo must have; None if the library has none yet.
        rules: which files and folders to take.
        retry: load photos again that failed before.
        check_content: load every photo, as its bytes may differ at the same size and time.
        progress: receives the number of photos found so far, and what is left out.

    Raises:
        ConfigError: a folder does not exist or has no photos.
    """
    tops = distinct_folders(folders) or _registered(store, progress)
    results = []
    for top in tops:
        try:
            target = _target(store, top, stored)
            target = replace(target, rules=rules, retry=retry, check_content=check_content)
            result = _scan(target, progress)
        except ConfigError as problem:
            if folders or len(tops) == 1:
                raise
            _report_left_out(progress, top, str(problem))  # the other folders need not wait for it
            continue
        for path, why in result.unreadable.items():
            _report_left_out(progress, path, why)
        results.append(result)
    if not results:
        raise ConfigError("no folder of this library has photos now; `mkt status` lists them")
    return results


def left_out(store: Store) -> Iterator[LeftOut]:
    """Walk every folder of the library, and yield what the last `mkt index` left out there.

    That is what its rules leave out of the folders as they are now.
    """
    runs = [run.settings for run in store.catalog.runs() if run.kind == "index"]
    rules = _rules_of(runs[-1]) if runs else DEFAULT_RULES
    for folder in store.catalog.root_folders():
        if folder.is_dir():
            yield from Walk(folder, folder, rules).left_out()
        else:
            yield LeftOut(folder, GONE_FOLDER)


def _rules_of(settings: Mapping[str, object]) -> WalkRules:
    """Return the rules that are recorded with a run; a version before may lack some."""
    exclude = settings.get("exclude")
    return WalkRules(
        hidden=settings.get("hidden") is True,
        follow_links=settings.get("follow_links") is True,
        exclude=tuple(map(str, exclude)) if isinstance(exclude, list) else (),
    )


def distinct_folders(folders: Sequence[Path]) -> list[Path]:
    """Return folders and photos as real paths, without those inside another one.

    Raises:
        ConfigError: one of them does not exist.
    """
    for folder in folders:
        if not os.path.lexists(folder):
            raise ConfigError(f"there is no folder or photo {path_to_text(folder)}")
    real = [
        folder.resolve() if folder.is_dir() else folder.parent.resolve() / folder.name
        for folder in folders
    ]
    distinct = list(dict.fromkeys(real))
    return [top for top in distinct if not any(other in top.parents for other in distinct)]


class Names:
    """The names in a folder and below it, as its file system lists them.

    A file system that folds case finds `a.jpg` under the name `A.jpg`, but lists one of them only:
    a file whose name was changed in its capitals has its old path no more.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[Path, set[str] | None] = {}

    def lack(self, path: Path) -> bool:
        """Return True if there is no such file, False if there is or that cannot be found out.

        Args:
            path: relative to the root.
        """
        folder = self._root
        for name in path.parts:
            names = self._in(folder)
            if names is None or name not in names:
                return names is not None
            folder /= name
        return False

    def _in(self, folder: Path) -> set[str] | None:
        if folder not in self._names:
            self._names[folder] = _names_in(folder)
        return self._names[folder]


def _names_in(folder: Path) -> set[str] | None:
    """Return the names in a folder, none if it does not exist; None if it cannot be listed."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError:
        return None


def is_gone(path: Path) -> bool:
    """Return True if the file does not exist, False if it does or cannot be checked."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _target(store: Store, top: Path, stored: StoredEncoding | None) -> ScanTarget:
    location = store.catalog.locate(top if top.is_dir() else top.parent)
    folder = location.path / text_to_path(location.prefix)
    return ScanTarget(
        location=location,
        top=folder if top.is_dir() else folder / top.name,
        known=store.catalog.known(location, stored.id if stored else None),
    )


def _scan(target: ScanTarget, progress: ProgressCallback) -> ScanResult:
    """Walk a target and compare every file with its row. Raises ConfigError if it has no photos."""
    walk = target.walk()
    result = ScanResult(target, skipped=walk.skipped, unreadable=walk.unreadable)
    seen: set[int] = set()
    for number, file in enumerate(walk):
        if number % REPORT_EVERY_PHOTOS == 0:
            progress(Progress(SCANNING, number))
        known = target.known.get(file.path)
        status = target.compare(file)
        result.statuses[status] += 1
        if known is not None:
            seen.add(known.id)
            if status is FileStatus.RETURNED:
                result.returned.append((known.id, file))
    if not result.photos:
        _refuse_empty(result)
    if target.top.is_dir():
        result.vanished = dict(_vanished(target, seen, walk.ignored))
    return result


def _vanished(
    target: ScanTarget, seen: set[int], ignored: set[str]
) -> Iterator[tuple[str, KnownPhoto]]:
    """Yield known photos that the walk did not find and whose files are gone or are `ignored`.

    What cannot be read now, or is left out by the other rules, is still there.
    """
    names = Names(target.location.path)
    for path, known in target.known.items():
        if known.id not in seen and known.state != "missing":
            if _is_ignored(path, ignored) or names.lack(text_to_path(path)):
                yield path, known


def _is_ignored(path: str, ignored: set[str]) -> bool:
    """Return True if a path, or a folder that it lies in, is among those that are ignored."""
    if not ignored:
        return False
    folders = (path[: at + 1] for at, letter in enumerate(path) if letter == "/")
    return path in ignored or any(folder in ignored for folder in folders)


def _refuse_empty(result: ScanResult) -> None:
    """Raise ConfigError unless all photos of a folder with other files are gone.

    An empty folder that had photos is probably a disk that is not mounted.
    """
    target, top = result.target, path_to_text(result.target.top)
    recorded = sum(known.state != "missing" for known in target.known.values())
    if recorded and any(target.top.iterdir()):
        return
    if recorded:
        raise ConfigError(
            f"{top} is empty, but the library has {recorded:,} photos in it: is its disk mounted? "
            "If the photos are really gone, remove the folder and index the one above it."
        )
    looked_for = " ".join(sorted(SUFFIXES))
    hidden = "" if target.rules.hidden else "; hidden folders are left out, see --hidden"
    skipped = ", ".join(f"{count:,} x {why}" for why, count in sorted(result.skipped.items()))
    skipped = f" Left out: {skipped}." if skipped else ""
    blocked = "".join(f" {path_to_text(path)}: {why}." for path, why in result.unreadable.items())
    raise ConfigError(f"no photos in {top}. Looked for {looked_for}{hidden}.{skipped}{blocked}")


def _registered(store: Store, progress: ProgressCallback) -> list[Path]:
    """Return the library's folders; one that does not exist now is left out and reported."""
    folders = store.catalog.root_folders()
    there = [folder for folder in folders if folder.is_dir()]
    for folder in folders:
        if folder not in there:
            _report_left_out(progress, folder, GONE_FOLDER)
    if not there:
        moved = ", or name its new place: `mkt root OLD NEW`" if folders else ""
        raise ConfigError(f"name a folder of photos: `mkt index FOLDER`{moved}")
    return there


def _report_left_out(progress: ProgressCallback, path: Path, why: str) -> None:
    progress(Progress(SCANNING, message=f"left out {path_to_text(path)}: {why}"))
