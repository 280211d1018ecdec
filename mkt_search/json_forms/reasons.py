"""Files that have no vectors, and why, as JSON."""

from pathlib import Path

from typing_extensions import TypedDict

from mkt_search.display import path_as_text


class ReasonData(TypedDict):
    """A file or folder, and why it is not in the library or cannot be read."""

    path: str
    reason: str


def as_data(path: Path, reason: str) -> ReasonData:
    """Return a path and its reason as JSON values."""
    return {"path": path_as_text(path), "reason": reason}
