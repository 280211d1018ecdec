"""Generations: which candidate index an encoding has, and how good it is known to be.

A generation is one file in `index/`, named by its own SHA-256, and one row. It is a cache: whatever
is wrong with it, the vectors in the segments answer, and `mkt optimize` makes a new one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann import Sketch
from mkt_search.store.catalog import now
from mkt_search.store.schema import Content, GenerationRow
from mkt_search.store.segments import Written

SUFFIX = ".faiss"


@dataclass(frozen=True)
class Curve:
    """Share of the exact `depth` best photos among the first `photos` candidates, measured.

    `recall` is by depth: pairs of (photos, recall), photos rising.
    """

    recall: dict[int, tuple[tuple[int, float], ...]]

    def photos_for(self, k: int, target: float) -> int | None:
        """Return how many candidates reach a recall of `target` at k; None if none is known to."""
        depths = sorted(self.recall)
        depth = next((d for d in depths if d >= k), depths[-1] if depths else 0)
        stretch = max(1.0, k / depth) if depth else 1.0
        for photos, recall in self.recall.get(depth, ()):
            if recall >= target:
                return int(np.ceil(photos * stretch))
        return None

    def as_data(self) -> dict[str, Any]:
        """Return the curve as the database keeps it."""
        return {str(depth): [list(pair) for pair in pairs] for depth, pairs in self.recall.items()}

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> "Curve":
        """Undo `as_data`."""
        return cls({int(d): tuple((int(c), float(r)) for c, r in data[d]) for d in data})


@dataclass(frozen=True)
class Generation:
    """The generation of an encoding as its row has it; `photos` counts contents in it."""

    id: int
    file: str
    size: int
    sha256: bytes
    photos: int
    curve: Curve


def find(session: Session, encoding_id: int) -> Generation | None:
    """Return the generation of an encoding, if it has one."""
    row = session.scalar(select(GenerationRow).where(GenerationRow.encoding_id == encoding_id))
    if row is None:
        return None
    curve = Curve.of_data(row.curve)
    return Generation(row.id, row.file, row.size, row.sha256, row.photos, curve)


def files(session: Session) -> set[str]:
    """Return the files of all generations."""
    return set(session.scalars(select(GenerationRow.file)))


def drop(session: Session, encoding_ids: Sequence[int]) -> list[str]:
    """Delete the generations of encodings; return the files that are now nobody's."""
    rows = GenerationRow.encoding_id.in_(encoding_ids)
    gone = list(session.scalars(select(GenerationRow.file).where(rows)))
    session.execute(delete(GenerationRow).where(rows))
    return gone


def switch(
    session: Session, encoding_id: int, written: Written, photos: int, curve: Curve
) -> list[str]:
    """Put a generation that is whole on disk in the place of the last; return the old files."""
    gone = drop(session, [encoding_id])
    session.add(
        GenerationRow(
            encoding_id=encoding_id,
            file=written.file,
            size=written.size,
            sha256=written.sha256,
            photos=photos,
            newest_content=session.scalar(select(func.max(Content.id))) or 0,
            curve=curve.as_data(),
            created_at=now(),
        )
    )
    session.flush()
    return [file for file in gone if file != written.file]


def drop_reusable(session: Session) -> list[str]:
    """Drop generations that know ids a database may give to other bytes from now on.

    SQLite gives the largest id anew once its row is gone. To be called where contents are deleted;
    returns the files that are now nobody's.
    """
    newest = session.scalar(select(func.max(Content.id))) or 0
    stale = select(GenerationRow.encoding_id).where(GenerationRow.newest_content > newest)
    return drop(session, list(session.scalars(stale)))


def load(folder: Path, generation: Generation, dim: int) -> Sketch:
    """Read a generation and check every byte. Raises LibraryDamaged, whose text is one sentence."""
    way_out = "Searches read every photo until `mkt repair` or `mkt optimize` makes it anew."
    try:
        data = np.fromfile(folder / generation.file, np.uint8)
    except FileNotFoundError:
        raise LibraryDamaged(
            f"The candidate index {generation.file} is missing. {way_out}"
        ) from None
    except OSError as error:
        raise LibraryDamaged(
            f"The candidate index {generation.file} cannot be read: {error.strerror}. {way_out}"
        ) from error
    if hashlib.sha256(data.data).digest() != generation.sha256:
        raise LibraryDamaged(
            f"The bytes of the candidate index {generation.file} have changed. {way_out}"
        )
    try:
        return Sketch.load(data, dim)
    except LibraryDamaged as error:
        raise LibraryDamaged(
            f"The candidate index {generation.file} cannot be used: {error}. {way_out}"
        ) from error
