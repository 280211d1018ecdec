"""Queries about candidate indexes: one row and two files for an encoding, replaced together."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mkt_search.store.manifest import PQ_SUFFIXES, CandidateIndex, StoredFile
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.sql.checksums import is_sound
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.schema import CandidateIndexRow
from mkt_search.store.sql.statements import now


def find(session: Session, encoding_id: int) -> CandidateIndex | None:
    """Return the candidate index of an encoding, None if it has none that this version reads."""
    of_this = CandidateIndexRow.encoding_id == encoding_id
    sound = is_sound(CandidateIndexRow.__table__)  # it is only a cache: do without a damaged one
    row = session.scalar(select(CandidateIndexRow).where(of_this, sound))
    if row is None or not row.pq_file.endswith(PQ_SUFFIXES):
        return None
    try:
        recall = RecallCurve.of_data(row.recall_curve)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise impossible(f"a recall curve: {error}") from error
    return CandidateIndex(
        pq=StoredFile(row.pq_file, row.pq_size, row.pq_sha256),
        row_map=StoredFile(row.rowmap_file, row.rowmap_size, row.rowmap_sha256),
        photos=row.photos,
        revision=row.revision,
        recall=recall,
    )


def files(session: Session) -> set[str]:
    """Return the names of all files."""
    rows = session.execute(select(CandidateIndexRow.pq_file, CandidateIndexRow.rowmap_file))
    return {file for row in rows for file in row}


def replace(session: Session, encoding_id: int, index: CandidateIndex) -> list[str]:
    """Set the candidate index of an encoding; return the names of files now unused."""
    unused = drop(session, [encoding_id])
    session.add(
        CandidateIndexRow(
            encoding_id=encoding_id,
            pq_file=index.pq.name,
            pq_size=index.pq.size,
            pq_sha256=index.pq.sha256,
            rowmap_file=index.row_map.name,
            rowmap_size=index.row_map.size,
            rowmap_sha256=index.row_map.sha256,
            photos=index.photos,
            revision=index.revision,
            recall_curve=index.recall.as_data(),
            created_at=now(),
        )
    )
    session.flush()
    return [file for file in unused if file not in (index.pq.name, index.row_map.name)]


def drop(session: Session, encoding_ids: Sequence[int]) -> list[str]:
    """Delete the candidate indexes of encodings; return the names of files now unused."""
    of_these = CandidateIndexRow.encoding_id.in_(encoding_ids)
    rows = session.execute(
        select(CandidateIndexRow.pq_file, CandidateIndexRow.rowmap_file).where(of_these)
    )
    unused = [file for row in rows for file in row]
    session.execute(delete(CandidateIndexRow).where(of_these))
    return unused
