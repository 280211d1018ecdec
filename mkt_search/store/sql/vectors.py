"""Queries about segments and vector rows: which row of which segment has a content's vectors.

A vector is live while its content has an indexed photo.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Integer, Select, delete, exists, func, insert, select, type_coerce
from sqlalchemy.orm import Session

from mkt_search.store.manifest import SegmentRecord, StoredFile
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.schema import ChangeRow, Content, Photo, SegmentRow, VectorRow
from mkt_search.store.sql.statements import in_pieces, now

INDEXED = select(Photo.content_id).where(
    Photo.state == "indexed", Photo.content_id.is_not(None)
)  # as a list for IN, which a database makes once, where EXISTS would look up a photo per vector

LARGEST = 10**8
"""Number of a content, a segment or a row: a library of 10**8 photos would take a terabyte."""

NUMBERS = ("segment_id", "row", "content_id")
VECTOR_ROW_COLUMNS = select(  # plain numbers: a million objects, or checks, would take seconds
    *(type_coerce(VectorRow.__table__.c[name], Integer) for name in NUMBERS)
)


def live(session: Session, encoding_id: int) -> NDArray[np.int64]:
    """Return (n, 3): segment id, row and content id of every live vector."""
    is_live = VectorRow.encoding_id == encoding_id, VectorRow.content_id.in_(INDEXED)
    return _vector_rows(session, VECTOR_ROW_COLUMNS.where(*is_live))


def live_changed(session: Session, encoding_id: int, since: int) -> NDArray[np.int64]:
    """Return those rows of `live` whose contents changed after a revision."""
    has_photo = exists().where(Photo.content_id == VectorRow.content_id, Photo.state == "indexed")
    has_changed = VectorRow.content_id.in_(  # for a join SQLite would read every vector row
        select(ChangeRow.content_id).where(ChangeRow.revision > since)
    )
    in_encoding = VectorRow.encoding_id == encoding_id
    return _vector_rows(session, VECTOR_ROW_COLUMNS.where(in_encoding, has_changed, has_photo))


def _vector_rows(session: Session, query: Select[*tuple[Any, ...]]) -> NDArray[np.int64]:
    rows = numbers(session.connection().execute(query), columns=3)
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def numbers(found: Iterable[Iterable[Any]], *, columns: int) -> NDArray[np.int64]:
    """Return rows of numbers (n, columns). Raises LibraryDamaged if some are impossible."""
    try:
        rows = np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, columns)
    except (TypeError, ValueError, OverflowError) as error:
        raise impossible(error) from error
    if len(rows) and not 0 <= rows.min() <= rows.max() <= LARGEST:
        raise impossible("the number of a vector row")
    return rows


def count_live(session: Session, encoding_id: int) -> int:
    """Count the live vectors; copies of a photo share one."""
    is_live = VectorRow.encoding_id == encoding_id, VectorRow.content_id.in_(INDEXED)
    return session.scalar(select(func.count()).select_from(VectorRow).where(*is_live)) or 0


def count_unencoded(session: Session, encoding_id: int | None = None) -> int:
    """Count the indexed photos without vectors under an encoding; None is for any encoding."""
    has_vectors = exists().where(VectorRow.content_id == Photo.content_id)
    if encoding_id is not None:
        has_vectors = has_vectors.where(VectorRow.encoding_id == encoding_id)
    query = select(func.count()).select_from(Photo)
    return session.scalar(query.where(Photo.state == "indexed", ~has_vectors)) or 0


# Segments


def segments(session: Session, encoding_id: int) -> list[SegmentRecord]:
    """Return the segments of an encoding, oldest first."""
    rows = session.scalars(
        select(SegmentRow).where(SegmentRow.encoding_id == encoding_id).order_by(SegmentRow.id)
    )
    return [
        SegmentRecord(row.id, StoredFile(row.file, row.size, row.sha256), row.count) for row in rows
    ]


def segment_files(session: Session, encoding_id: int | None = None) -> dict[int, str]:
    """Return the file names of segments by segment id: of one encoding, or of all."""
    query = select(SegmentRow.id, SegmentRow.file).order_by(SegmentRow.id)
    if encoding_id is not None:
        query = query.where(SegmentRow.encoding_id == encoding_id)
    return {id_: file for id_, file in session.execute(query)}


def find_segment(session: Session, segment_id: int) -> tuple[int, str] | None:
    """Return the encoding id and the file name of a segment, None if there is no such segment."""
    query = select(SegmentRow.encoding_id, SegmentRow.file).where(SegmentRow.id == segment_id)
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1])


def totals(session: Session) -> tuple[int, int]:
    """Return the number of segments and their bytes."""
    size = type_coerce(SegmentRow.size, Integer)  # PostgreSQL sums up to another type
    query = select(func.count(SegmentRow.id), func.coalesce(func.sum(size), 0))
    segments, total = session.execute(query).one()
    return segments, int(total)


def add_segment(
    session: Session, encoding_id: int, file: StoredFile, content_ids: Sequence[int]
) -> None:
    """Name a segment that is whole on disk; row i has the vectors of content_ids[i]."""
    segment = SegmentRow(
        encoding_id=encoding_id,
        file=file.name,
        count=len(content_ids),
        size=file.size,
        sha256=file.sha256,
        created_at=now(),
    )
    session.add(segment)
    session.flush()
    same = {"encoding_id": encoding_id, "segment_id": segment.id}
    session.execute(
        insert(VectorRow),
        [{**same, "content_id": id_, "row": row} for row, id_ in enumerate(content_ids)],
    )


def delete_segments(session: Session, segment_ids: Sequence[int]) -> None:
    """Delete segments and the vector rows that point into them."""
    for piece in in_pieces(segment_ids):
        session.execute(delete(VectorRow).where(VectorRow.segment_id.in_(piece)))
        session.execute(delete(SegmentRow).where(SegmentRow.id.in_(piece)))


def rows_in_use(session: Session, segment_id: int) -> NDArray[np.int64]:
    """Return (n, 2): row and content id of what contents need of a segment, rows rising."""
    rows = session.execute(
        select(VectorRow.row, VectorRow.content_id)
        .where(VectorRow.segment_id == segment_id)
        .order_by(VectorRow.row)
    )
    return numbers(rows, columns=2)


def count_rows_in_use(session: Session, encoding_id: int) -> dict[int, int]:
    """Return how many rows contents need of each segment, by segment id."""
    rows = session.execute(
        select(VectorRow.segment_id, func.count())
        .where(VectorRow.encoding_id == encoding_id)
        .group_by(VectorRow.segment_id)
    )
    return {id_: number for id_, number in rows}


def contents_of_rows(session: Session, segment_id: int) -> list[tuple[int, bytes]]:
    """Return (row, SHA-256 of the content) for the rows in use of a segment."""
    rows = session.execute(
        select(VectorRow.row, Content.sha256)
        .join(Content, Content.id == VectorRow.content_id)
        .where(VectorRow.segment_id == segment_id)
    )
    return [(row, sha) for row, sha in rows]
