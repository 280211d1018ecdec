"""Which files and folders a walk leaves out by name: defaults, `.mktignore` files, `--exclude`.

Patterns are those of .gitignore. As in git, the option comes before the files, a file before those
of the folders above it, and the last matching line of each decides; `!` takes something in again,
but nothing below a folder that is left out.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pathspec import GitIgnoreSpec

from mkt_search.errors import ConfigError
from mkt_search.files import read_bytes

IGNORE_FILE = ".mktignore"
MAX_STARS = 4
"""Of a pattern between two slashes: comparing a long name takes its length to this power."""

BY_DEFAULT = "excluded by default"
BY_FILE = f"excluded by {IGNORE_FILE}"
BY_OPTION = "excluded by --exclude"

DEFAULT_FOLDERS = frozenset(
    (
        *("@eaDir", "#recycle", "#snapshot"),  # Synology
        *(".@__thumb", "@Recycle", "@Recently-Snapshot"),  # QNAP
        *("$RECYCLE.BIN", "System Volume Information"),  # Windows
        *(".Trashes", "__MACOSX"),  # macOS, and its ZIP archives
        *("lost+found", ".thumbnails"),  # Linux
    )
)
"""Folders of systems and other programs: trash, snapshots, thumbnails."""

DEFAULT_SUFFIXES = (".lrdata",)
"""Of folders with Lightroom's previews."""

_FOLDED_FOLDERS = frozenset(name.casefold() for name in DEFAULT_FOLDERS)


@dataclass(frozen=True)
class _Patterns:
    """Patterns relative to the folder `base`, a path below the root that is "" or ends in "/".

    `why` is what is said of a path that they leave out.
    """

    why: str
    spec: GitIgnoreSpec
    base: str = ""

    def says(self, path: str) -> bool | None:
        """Return True for a path to leave out, False for one to take in, None if none matches."""
        return self.spec.check_file(_composed(path.removeprefix(self.base))).include


@dataclass(frozen=True)
class Exclusions:
    """The patterns that apply in a folder, each in the order in which they are asked."""

    option: tuple[_Patterns, ...] = ()
    files: tuple[_Patterns, ...] = ()

    @classmethod
    def of(cls, exclude: Sequence[str]) -> Self:
        """Return the exclusions by default and by the option.

        Raises:
            ConfigError: a pattern is not valid.
        """
        try:
            spec = _spec(map(_composed, exclude))
        except ValueError as problem:
            raise ConfigError(f"--exclude: {problem}; patterns are those of .gitignore") from None
        return cls((_Patterns(BY_OPTION, spec),) if len(spec) else ())

    def with_file(self, below: str, folder: Path | str) -> Self:
        """Return these exclusions and those of a folder's `.mktignore`.

        Args:
            below: the folder's path below the root, "" or ending in "/".
            folder: the folder, which has such a file.

        Raises:
            ConfigError: the file cannot be read, or a pattern in it is not valid. What it leaves
                out is unknown then, so nothing of the folder should be taken.
        """
        try:
            lines = _composed(_read(os.path.join(folder, IGNORE_FILE))).splitlines()
            patterns = _Patterns(BY_FILE, _spec(lines), below)
        except OSError as problem:
            words = (problem.strerror or str(problem)).lower()
            raise ConfigError(f"its {IGNORE_FILE} cannot be read ({words})") from None
        except ValueError as problem:
            raise ConfigError(f"its {IGNORE_FILE} is not valid ({problem})") from None
        return replace(self, files=(patterns, *self.files))

    def why(self, path: str, *, is_folder: bool) -> str | None:
        """Return why a path below the root is left out, None if it is not."""
        path = f"{path}/" if is_folder else path
        for patterns in (*self.option, *self.files):
            if (excluded := patterns.says(path)) is not None:
                return patterns.why if excluded else None
        return BY_DEFAULT if is_folder and _is_by_default(path) else None


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    """Compile patterns. Raises ValueError if one is not valid, or could take minutes for a name."""
    lines = list(lines)
    for line in lines:
        stars = max(len(re.findall(r"\*+", part)) for part in line.split("/"))
        if stars > MAX_STARS and not line.startswith("#"):
            raise ValueError(f'more than {MAX_STARS} "*" between slashes: {line[:80]}')
    return GitIgnoreSpec.from_lines(lines)


def _composed(text: str) -> str:
    """Return text in NFC; macOS writes an accent in a name as a letter of its own."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _is_by_default(path: str) -> bool:
    name = path.rstrip("/").rpartition("/")[2].casefold()  # Windows writes $Recycle.Bin as well
    return name in _FOLDED_FOLDERS or name.endswith(DEFAULT_SUFFIXES)


def _read(path: str) -> str:
    """Return the text of a file; names in it that are not UTF-8 compare as `os.fsdecode` gives."""
    data = read_bytes(Path(path))
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
