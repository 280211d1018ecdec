"""Open the library a command is about, with the settings that hold beside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkt_search.settings import config

if TYPE_CHECKING:
    from mkt_search.library import Library


def library_folder(directory: Path | None) -> Path:
    """Return the library folder that --library means, or the nearest one upward."""
    if directory is not None:
        return config.named_library(directory)
    return config.find_library(Path.cwd())


def open_library(directory: Path | None, flags: dict[str, Any]) -> "Library":
    """Open the library that --library means, with the settings that hold beside it."""
    folder = library_folder(directory)
    settings = config.load(folder, flags=flags)
    from mkt_search.library import Library  # heavy: a wrong folder or setting is told before

    return Library.open(folder, config=settings)
