"""Generations: which candidate index an encoding has, and how good it is known to be.

A generation is one row and two files in `index/`, each named by its digest: the sketch, and the
places, where the vectors stood when it was built, so that opening a large library reads from the
database only what has changed since. It is a cache: whatever is wrong with it, segments and
database answer, and `mkt optimize` makes a new one.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann.pq_index import PQIndex
from mkt_search.store.ann.run_lengths import decode, encode
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.segments.files import Bytes, Written, packed, sha256_of, unpacked
from mkt_search.store.sql.photos import now
from mkt_search.store.sql.schema import CandidateIndexRow, Content
from mkt_search.types import Encoding

PIECE = 1 << 24
SKETCH, PLACES = ".pq", ".rows"  # ends of file names
READABLE = (SKETCH, ".sketch")  # and of those that earlier versions wrote
ONWARD = (0, 1, 1)  # from a place to the next: the same segment, the next row, the next content


def digest_of(data: bytes | memoryview) -> bytes:
    """Return the SHA-256 over the SHA-256 of pieces of 16 MB, each taken by some thread.

    A file of a gigabyte is checked whenever a program begins to search.
    """
    whole = memoryview(data).cast("B")
    pieces = [whole[i : i + PIECE] for i in range(0, len(whole), PIECE)]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return sha256_of(b"".join(workers.map(sha256_of, pieces)))


@dataclass(frozen=True)
class CandidateIndex:
    """The generation of an encoding: its files, which are whole on disk, and what is known of them.

    `photos` counts contents in it; `revision` is the library's when its places were taken.
    """

    sketch: Written
    places: Written
    photos: int
    revision: int
    curve: RecallCurve


def find(session: Session, encoding_id: int) -> CandidateIndex | None:
    """Return the generation of an encoding, if it has one that this program reads."""
    row = session.scalar(
        select(CandidateIndexRow).where(CandidateIndexRow.encoding_id == encoding_id)
    )
    if row is None or not row.pq_file.endswith(READABLE):
        return None
    curve = RecallCurve.of_data(row.recall_curve)
    sketch = Written(row.pq_file, row.pq_size, row.pq_sha256)
    places = Written(row.rowmap_file, row.rowmap_size, row.rowmap_sha256)
    return CandidateIndex(sketch, places, row.photos, row.revision, curve)


def files(session: Session) -> set[str]:
    """Return the files of all generations."""
    rows = session.execute(select(CandidateIndexRow.pq_file, CandidateIndexRow.rowmap_file))
    return {file for row in rows for file in row}


def drop(session: Session, encoding_ids: Sequence[int]) -> list[str]:
    """Delete the generations of encodings; return the files that are now nobody's."""
    mine = CandidateIndexRow.encoding_id.in_(encoding_ids)
    rows = session.execute(
        select(CandidateIndexRow.pq_file, CandidateIndexRow.rowmap_file).where(mine)
    )
    gone = [file for row in rows for file in row]
    session.execute(delete(CandidateIndexRow).where(mine))
    return gone


def switch(session: Session, encoding_id: int, built: CandidateIndex) -> list[str]:
    """Put a generation in the place of the last; return the old files."""
    gone = drop(session, [encoding_id])
    session.add(
        CandidateIndexRow(
            encoding_id=encoding_id,
            pq_file=built.sketch.file,
            pq_size=built.sketch.size,
            pq_sha256=built.sketch.sha256,
            rowmap_file=built.places.file,
            rowmap_size=built.places.size,
            rowmap_sha256=built.places.sha256,
            revision=built.revision,
            photos=built.photos,
            newest_content=session.scalar(select(func.max(Content.id))) or 0,
            recall_curve=built.curve.as_data(),
            created_at=now(),
        )
    )
    session.flush()
    return [file for file in gone if file not in (built.sketch.file, built.places.file)]


def drop_reusable(session: Session) -> list[str]:
    """Drop generations that know ids a database may give to other bytes from now on.

    SQLite gives the largest id anew once its row is gone. To be called where contents are deleted;
    returns the files that are now nobody's.
    """
    newest = session.scalar(select(func.max(Content.id))) or 0
    stale = select(CandidateIndexRow.encoding_id).where(CandidateIndexRow.newest_content > newest)
    return drop(session, list(session.scalars(stale)))


def load_pq_index(folder: Path, generation: CandidateIndex, encoding: Encoding) -> PQIndex:
    """Read a sketch and check every byte. Raises LibraryDamaged, whose text is one sentence."""
    file = generation.sketch
    try:
        arrays = _arrays(_checked(folder, file))
        return PQIndex.of_arrays(arrays, encoding.dim, max(encoding.m, 1))
    except LibraryDamaged as error:
        raise LibraryDamaged(
            f"The candidate index {file.file} {error}. Searches read every photo until "
            "`mkt repair` or `mkt optimize` makes it anew."
        ) from error


def places_as_bytes(places: NDArray[np.int64]) -> bytes:
    """Return places (n, 3), segment id, row and content id, as `load_places` reads them."""
    return packed({"places": encode(places, ONWARD)})


def load_places(folder: Path, generation: CandidateIndex) -> NDArray[np.int64]:
    """Read where vectors stood, (n, 3) segment id, row and content id; check every byte.

    Raises:
        LibraryDamaged: its text is one sentence.
    """
    file = generation.places
    try:
        return decode(_arrays(_checked(folder, file), "places")["places"], ONWARD)
    except LibraryDamaged as error:
        raise LibraryDamaged(
            f"The list of vectors {file.file} {error}. They are looked up in the database until "
            "`mkt repair` or `mkt optimize` makes it anew."
        ) from error


def _arrays(data: Bytes, *names: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file, those of some names at least. Raises LibraryDamaged."""
    try:
        arrays, _ = unpacked(data)
        return arrays | {name: arrays[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise LibraryDamaged("is of another version of this program") from error


def _checked(folder: Path, file: Written) -> Bytes:
    """Map a file into memory once its bytes are those that were written. Raises LibraryDamaged."""
    path = folder / file.file
    try:
        if path.stat().st_size != file.size:
            raise LibraryDamaged("has lost or gained bytes")
        data = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    except FileNotFoundError:
        raise LibraryDamaged("is missing") from None
    except OSError as error:
        raise LibraryDamaged(f"cannot be read: {error.strerror}") from error
    if digest_of(data.data) != file.sha256:
        raise LibraryDamaged("has other bytes than were written")
    return data
