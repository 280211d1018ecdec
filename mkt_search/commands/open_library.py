"""Open the library of a command, with its settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkt_search.settings import config

if TYPE_CHECKING:
    from mkt_search.library import Library


def library_folder(directory: Path | None) -> Path:
    """Return the library folder that --library names, or the nearest one upward."""
    if directory is not None:
        return config.named_library(directory)
    return config.find_library(Path.cwd())


def open_library(directory: Path | None, flags: dict[str, Any]) -> "Library":
    """Open the library that --library names, or the nearest one upward.

    Args:
        directory: the value of --library.
        flags: settings given on the command line, by `section.key`.
    """
    folder = library_folder(directory)
    settings = config.load(folder, flags=flags)
    from mkt_search.library import Library  # slow to import, so a wrong setting is reported first

    return Library.open(folder, config=settings)
