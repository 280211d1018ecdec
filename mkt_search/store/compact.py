"""Merge small segments, and leave out rows nobody needs: fewer files to open, no vector decoded.

Codes are copied as they are, so vectors stay the same to the bit. The order is that of every write:
the merged file whole on disk, one transaction that names it instead of the old ones, then the old
files go. A crash leaves either the old files named and the new an orphan, or the reverse.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged
from mkt_search.store.segments.files import digest
from mkt_search.store.segments.segment import Arrays, Segment, open_segment, write_arrays
from mkt_search.store.sql import changes, encodings
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.photos import in_pieces
from mkt_search.store.sql.schema import SegmentRow, VectorRow
from mkt_search.store.store import Store, StoredEncoding

log = logging.getLogger(__name__)

LARGE = 8_192  # photos in a merged segment; one with at most half as many is small
LARGE_BYTES = 80_000_000  # and its size where photos are large: it is put together in memory
MANY = 64  # small segments that are merged in the course of a run


@dataclass(frozen=True)
class Part:
    """A segment to be merged; `needed` (n, 2) is row and content id of what some content needs."""

    id: int
    file: str
    count: int
    sha256: bytes
    needed: NDArray[np.int64]
    segment: Segment | None = None

    @property
    def has_lost_rows(self) -> bool:
        """True when some rows belong to no content any more."""
        return len(self.needed) < self.count


def compact(store: Store, stored: StoredEncoding, *, fewest: int = MANY) -> int:
    """Merge small segments of an encoding if there are at least `fewest`; return how many went.

    Segments that have lost rows count as small. A damaged one is left for `mkt verify` to find:
    its bytes must not get a digest that says they are right.
    Only the writer may call it.

    Raises:
        StoreError: the disk is full or cannot be written; nothing has changed then.
    """
    parts = _small(store, stored)
    if len(parts) < fewest:
        return 0
    opened = [part for part in (_opened(store, stored, part) for part in parts) if part is not None]
    merged = [
        group
        for group in _groups(opened, large(stored))
        if len(group) > 1 or any(p.has_lost_rows for p in group)
    ]
    for group in merged:
        _merge(store, stored, group)
    return sum(map(len, merged))


def _opened(store: Store, stored: StoredEncoding, part: Part) -> Part | None:
    if not len(part.needed):
        return part
    path = store.folder / part.file
    try:
        segment = open_segment(path, stored.encoding)
        if digest(path) != part.sha256:
            raise LibraryDamaged(f"The bytes of {part.file} have changed. Run `mkt repair`.")
        return replace(part, segment=segment)
    except LibraryDamaged as error:
        log.warning("%s", error)
        return None


def _small(store: Store, stored: StoredEncoding) -> list[Part]:
    with reading(store.engine) as session:
        counted = session.execute(
            select(VectorRow.segment_id, func.count())
            .where(VectorRow.encoding_id == stored.id)
            .group_by(VectorRow.segment_id)
        )
        needed = {id_: count for id_, count in counted}
        segments = session.execute(
            select(SegmentRow.id, SegmentRow.file, SegmentRow.count, SegmentRow.sha256)
            .where(SegmentRow.encoding_id == stored.id)
            .order_by(SegmentRow.id)
        )
        return [
            Part(id_, file, count, sha256, _needed(session, id_))
            for id_, file, count, sha256 in segments
            if 2 * count <= large(stored) or needed.get(id_, 0) < count
        ]


def _needed(session: Session, segment_id: int) -> NDArray[np.int64]:
    rows = session.execute(
        select(VectorRow.row, VectorRow.content_id)
        .where(VectorRow.segment_id == segment_id)
        .order_by(VectorRow.row)
    )
    return np.array([tuple(row) for row in rows], np.int64).reshape(-1, 2)


def large(stored: StoredEncoding) -> int:
    """Return how many photos a merged segment may have."""
    encoding = stored.encoding
    width = {"fp16": 2.0, "int8": 1.0, "int4": 0.5}[encoding.precision]
    photo = (1 + encoding.m) * encoding.dim * width
    return max(1, min(LARGE, int(LARGE_BYTES / photo)))


def _groups(parts: Sequence[Part], most: int) -> list[list[Part]]:
    """Put parts together until each group holds about as many photos as a large segment."""
    groups: list[list[Part]] = [[]]
    for part in parts:
        if groups[-1] and sum(len(p.needed) for p in groups[-1]) + len(part.needed) > most:
            groups.append([])
        groups[-1].append(part)
    return groups


def _merge(store: Store, stored: StoredEncoding, parts: Sequence[Part]) -> None:
    content_ids = np.concatenate([part.needed[:, 1] for part in parts]).tolist()
    written = None
    if content_ids:
        arrays = Arrays.joined(
            [part.segment.arrays(part.needed[:, 0]) for part in parts if part.segment]
        )
        with store.writing_files():
            written = write_arrays(store.folder, arrays, stored.encoding, prefix=f"{stored.id}-")
    with transaction(store.engine) as session:
        _forget(session, [part.id for part in parts])
        if written is not None:
            encodings.add_segment(session, stored.id, written, content_ids)
        changes.bump(session, content_ids)
    store.remove_files(part.file for part in parts if written is None or part.file != written.file)


def _forget(session: Session, segment_ids: Sequence[int]) -> None:
    for piece in in_pieces(segment_ids):
        session.execute(delete(VectorRow).where(VectorRow.segment_id.in_(piece)))
        session.execute(delete(SegmentRow).where(SegmentRow.id.in_(piece)))
