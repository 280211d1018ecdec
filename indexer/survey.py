"""Compare the photos on disk with what the library knows, before anything is read."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from indexer.walk import Walk
from mkt_search.errors import ConfigError
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.photos.formats import SUFFIXES
from mkt_search.store.records import KnownPhoto, RootLocation
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import PhotoFile


class Verdict(Enum):
    """What is to be done with a photo on disk."""

    NEW = "new"
    CHANGED = "changed"
    UNENCODED = "without vectors"
    RETRIED = "failed before, tried again"
    UNREADABLE = "failed before"
    RETURNED = "missing before, there again"
    UNCHANGED = "unchanged"


TO_LOAD = {Verdict.NEW, Verdict.CHANGED, Verdict.UNENCODED, Verdict.RETRIED}


def judge(file: PhotoFile, known: KnownPhoto | None, *, retry: bool) -> Verdict:
    """Decide by size and time alone whether a photo must be read."""
    if known is None:
        return Verdict.NEW
    if (known.size, known.mtime_ns) != (file.size, file.mtime_ns):
        return Verdict.CHANGED
    if known.state == "failed":
        return Verdict.RETRIED if retry else Verdict.UNREADABLE
    if not known.has_vectors:
        return Verdict.UNENCODED
    return Verdict.RETURNED if known.state == "missing" else Verdict.UNCHANGED


@dataclass(frozen=True)
class Scope:
    """One folder, or one photo, to be indexed: where it stands and what is known below it."""

    place: RootLocation
    top: Path
    known: dict[str, KnownPhoto]
    hidden: bool = False
    retry: bool = False

    def walk(self) -> Walk:
        """Return a fresh walk over the scope."""
        return Walk(self.top, self.place.path, hidden=self.hidden)

    def to_load(self) -> Iterator[PhotoFile]:
        """Walk, and yield the photos that must be read."""
        for file in self.walk():
            if judge(file, self.known.get(file.path), retry=self.retry) in TO_LOAD:
                yield file


@dataclass
class Survey:
    """What a first walk over a scope found.

    `vanished` are the known photos that are gone from disk, by path; `returned` those that were
    marked missing and are there again, with their ids.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)
    vanished: dict[str, KnownPhoto] = field(default_factory=dict)
    returned: list[tuple[int, PhotoFile]] = field(default_factory=list)

    @property
    def to_load(self) -> int:
        """How many photos must be read."""
        return sum(self.verdicts[verdict] for verdict in TO_LOAD)

    @property
    def photos(self) -> int:
        """How many photos are there."""
        return self.verdicts.total()


def survey_folders(
    store: Store,
    folders: Sequence[Path],
    stored: StoredEncoding | None,
    *,
    hidden: bool,
    retry: bool,
    say: Callable[[str], None],
) -> list[tuple[Scope, Survey]]:
    """Compare folders with what is stored; nothing is written, not even that a folder is new."""
    surveys = []
    tops = _tops(folders) or _registered(store, say)
    for top in tops:
        place = store.catalog.locate(top if top.is_dir() else top.parent)
        known = store.catalog.known(place, stored.id if stored else None)
        inside = place.path / text_to_path(place.prefix)
        scope = Scope(
            place=place,
            top=inside if top.is_dir() else inside / top.name,
            known=known,
            hidden=hidden,
            retry=retry,
        )
        try:
            found = survey(scope)
        except ConfigError as problem:
            if folders or len(tops) == 1:
                raise
            say(f"left out {path_to_text(top)}: {problem}")  # the others must not wait for it
            continue
        for path, why in found.unreadable.items():
            say(f"left out {path_to_text(path)}: {why}")
        surveys.append((scope, found))
    if not surveys:
        raise ConfigError("no folder of this library has photos now; `mkt status` names them")
    return surveys


def _tops(folders: Sequence[Path]) -> list[Path]:
    """Return the folders and photos as real paths, without those that lie inside another."""
    for folder in folders:
        if not os.path.lexists(folder):
            raise ConfigError(f"there is no folder or photo {path_to_text(folder)}")
    real = [
        folder.resolve() if folder.is_dir() else folder.parent.resolve() / folder.name
        for folder in folders
    ]
    distinct = list(dict.fromkeys(real))
    return [top for top in distinct if not any(other in top.parents for other in distinct)]


def _registered(store: Store, say: Callable[[str], None]) -> list[Path]:
    """Return the library's own folders; one whose disk is not there is left out."""
    folders = store.catalog.root_folders()
    there = [folder for folder in folders if folder.is_dir()]
    for folder in folders:
        if folder not in there:
            say(f"left out {path_to_text(folder)}: it is not there now")
    if not there:
        moved = ", or say where one is now: `mkt root OLD NEW`" if folders else ""
        raise ConfigError(f"name a folder of photos: `mkt index FOLDER`{moved}")
    return there


def survey(scope: Scope) -> Survey:
    """Walk over a scope once; nothing is read or written.

    Raises:
        ConfigError: there is no photo, or no such folder.
    """
    walk = scope.walk()
    found = Survey(skipped=walk.skipped, unreadable=walk.unreadable)
    seen: set[int] = set()
    for file in walk:
        known = scope.known.get(file.path)
        verdict = judge(file, known, retry=scope.retry)
        found.verdicts[verdict] += 1
        if known is not None:
            seen.add(known.id)
            if verdict is Verdict.RETURNED:
                found.returned.append((known.id, file))
    if not found.photos:
        _refuse_empty(scope, found)
    if scope.top.is_dir():
        found.vanished = dict(_vanished(scope, seen))
    return found


def _vanished(scope: Scope, seen: set[int]) -> Iterator[tuple[str, KnownPhoto]]:
    """Yield known photos that the walk did not meet, if they are truly gone: a folder that cannot
    be read now, or is hidden, still has its photos."""
    for path, known in scope.known.items():
        if known.id not in seen and known.state != "missing":
            if is_gone(scope.place.path / text_to_path(path)):
                yield path, known


def is_gone(path: Path) -> bool:
    """True when there is surely no such file; False for one that only cannot be seen now."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _refuse_empty(scope: Scope, found: Survey) -> None:
    """Refuse to go on without photos; an empty folder where some were is likely a missing disk."""
    top = path_to_text(scope.top)
    recorded = sum(known.state != "missing" for known in scope.known.values())
    if recorded and any(scope.top.iterdir()):
        return
    if recorded:
        raise ConfigError(
            f"{top} is empty, but the library knows {recorded:,} photos in it: is its disk there? "
            "If they are really gone, remove the folder and index the one above it."
        )
    looked_for = " ".join(sorted(SUFFIXES))
    hidden = "" if scope.hidden else "; hidden folders are left out, see --hidden"
    blocked = "".join(f" {path_to_text(path)}: {why}." for path, why in found.unreadable.items())
    raise ConfigError(f"no photos under {top}. Looked for {looked_for}{hidden}.{blocked}")
