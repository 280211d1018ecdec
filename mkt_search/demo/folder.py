"""The folder of `mkt demo`: a new one, or one that it made."""

from pathlib import Path


def is_ours(folder: Path, mark: str) -> bool:
    """Return True if the folder is missing or empty, or contains `mark`, the demo's first file."""
    return not folder.exists() or (folder / mark).exists() or not any(folder.iterdir())
