"""Check the arguments of the public Python interface."""

from collections.abc import Sequence
from pathlib import Path

from mkt_search.errors import QueryError

PhotoName = Path | str | int
"""A photo of a library: its path, or its id."""


def as_paths(named: Path | str | Sequence[Path | str]) -> Sequence[Path | str]:
    """Return one path as a list, and several as they are."""
    return [named] if isinstance(named, str | Path) else named


def as_names(named: PhotoName | Sequence[PhotoName]) -> Sequence[PhotoName]:
    """Return one photo as a list, and several as they are."""
    return [named] if isinstance(named, str | Path | int) else named


def refuse_text(labels: Sequence[str]) -> None:
    """Raise QueryError for one text in place of a list, whose items would be its letters."""
    if isinstance(labels, str):
        raise QueryError(f'"{labels}" is one text, not a list of labels. Write ["{labels}"].')


def refuse_unknown(name: str, value: str | None, known: Sequence[str]) -> None:
    """Raise QueryError for a value that could match nothing."""
    if value is not None and value not in known:
        raise QueryError(f'There is no {name} "{value}"; choose from {", ".join(known)}.')
