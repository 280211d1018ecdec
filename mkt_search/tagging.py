"""Bulk tagging: every photo against every label of a vocabulary, from stored vectors alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import QueryError
from mkt_search.search import score_blocks
from mkt_search.store.vectors import VectorIndex
from mkt_search.types import Vector


def read_vocabulary(path: Path) -> list[str]:
    """Read labels, one a line; blank lines and lines that start with # are left out, repeats too.

    Raises QueryError when the file cannot be read, is not text, or holds no label.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise QueryError(f"Cannot read the vocabulary {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise QueryError(
            f"The vocabulary {path} is not UTF-8 text (byte {error.start}). Write one label a line."
        ) from error
    labels = dict.fromkeys(line.strip() for line in lines)
    found = [label for label in labels if label and not label.startswith("#")]
    if not found:
        raise QueryError(f"The vocabulary {path} has no labels. Write one a line.")
    return found


def chosen(
    index: VectorIndex, labels: Vector, *, top: int, threshold: float | None
) -> Iterator[tuple[int, NDArray[np.int64], Vector]]:
    """Yield (slot, label numbers, their scores) for every live photo, best label first.

    Args:
        index: the library's vectors.
        labels: (L, D).
        top: at most so many labels a photo; 0 for any number.
        threshold: labels must score at least this; None for no bound.
    """
    for slots, scores in score_blocks(index, labels, np.flatnonzero(index.live)):
        order = np.argsort(-scores, axis=1, kind="stable")[:, : top or None]
        for slot, row, best in zip(slots.tolist(), scores, order, strict=True):
            values = row[best]
            keep = best if threshold is None else best[values >= threshold]
            yield slot, keep, row[keep]


def check_choice(*, top: int, threshold: float | None, labels: Sequence[str]) -> None:
    """Raise QueryError when the choice would tag every photo with every label, or with none."""
    if not labels:
        raise QueryError("The vocabulary has no labels.")
    if top < 0:
        raise QueryError(f"--top {top} makes no sense: name a number of labels, or 0 for any.")
    if not top and threshold is None:
        raise QueryError(
            "Every label would go to every photo: say how many with --top N or how good with "
            "--threshold S."
        )
