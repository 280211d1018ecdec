"""Damaged rows: values that cannot be right, and the removal of rows that can be made again."""

from collections.abc import Iterator

import numpy as np
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from mkt_search.store.manifest import FileNames
from mkt_search.store.sql import candidate_indexes, changes, label_vectors, vectors
from mkt_search.store.sql.checksums import is_sound
from mkt_search.store.sql.schema import (
    CandidateIndexRow,
    ChangeRow,
    DecisionRow,
    EncodingRow,
    HandTagRow,
    JudgementRow,
    LabelVectorRow,
    MiniatureRow,
    Photo,
    RunRow,
    SegmentRow,
    TagRow,
    VectorRow,
)

REPAIRABLE = frozenset(
    {"label_vector", "candidate_index", "change", "segment", "vector", "miniature"}
)
"""Tables whose rows are made again from the photos and the other tables."""

VALUES = {
    Photo.state: ("indexed", "failed", "missing"),
    EncodingRow.state: ("active", "building"),
    RunRow.outcome: ("running", "done", "failed", "interrupted", "reverted"),
    TagRow.source: ("auto",),
    HandTagRow.source: ("human", "imported"),
    JudgementRow.answer: ("yes", "no"),
    DecisionRow.verdict: ("accept", "reject"),
}


def value_problems(session: Session) -> Iterator[tuple[str, str]]:
    """Yield (table, what is wrong) for values that this program never writes."""
    for column, known in VALUES.items():
        table = column.class_.__tablename__
        if count := session.scalar(select(func.count()).where(column.not_in(known))):
            yield table, f"rows of {table} with an unknown {column.key}: {count:,}"
    if any(not _is_vector(data) for data in label_vectors.every(session)):
        yield "label_vector", "a remembered label vector is not a vector"


def _is_vector(data: bytes) -> bool:
    return len(data) % 4 == 0 and bool(np.isfinite(np.frombuffer(data, "<f4")).all())


def delete_damaged(session: Session) -> FileNames:
    """Delete damaged rows of the `REPAIRABLE` tables; return the names of files now unused.

    Photos whose vectors are lost by it have none, and are encoded again. Readers read everything.
    """
    for row in (LabelVectorRow, CandidateIndexRow, ChangeRow, MiniatureRow):
        session.execute(delete(row).where(~is_sound(row.__table__)))
    damaged = or_(
        ~is_sound(SegmentRow.__table__), SegmentRow.encoding_id.not_in(select(EncodingRow.id))
    )
    lost = session.execute(select(SegmentRow.id, SegmentRow.file).where(damaged)).all()
    vectors.delete_segments(session, [id_ for id_, _ in lost])
    nowhere = VectorRow.segment_id.not_in(select(SegmentRow.id))
    session.execute(delete(VectorRow).where(or_(~is_sound(VectorRow.__table__), nowhere)))
    index_files = candidate_indexes.drop(session, list(session.scalars(select(EncodingRow.id))))
    changes.record_change(session, ())
    changes.delete_changes(session, until=changes.revision(session))
    return FileNames(tuple(file for _, file in lost), tuple(index_files))
