"""Delete what no photo needs: missing photos, their tags, unused contents and segments.

The tags that a person set are never deleted with a photo: they may be of a picture that was moved
to a folder which is not indexed yet. Only a person who asks for it by name deletes them.
"""

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from mkt_search.store.manifest import FileNames
from mkt_search.store.records import PruneReport
from mkt_search.store.sql import changes, hand_tags, miniatures, tags
from mkt_search.store.sql.filters import HAS_COPY
from mkt_search.store.sql.schema import (
    Content,
    HandTagRow,
    JudgementRow,
    Photo,
    RefusalRow,
    SegmentRow,
    VectorRow,
)
from mkt_search.store.sql.statements import in_pieces

MISSING = Photo.state == "missing"
LAST_OF_TAGGED = exists().where(HandTagRow.content_id == Photo.content_id) & ~HAS_COPY
"""The photo is of a picture that a person tagged and that is nowhere else."""


def prune(session: Session, *, tagged: bool = False) -> tuple[PruneReport, FileNames]:
    """Delete missing photos with the tags of runs, and what is without a use.

    Args:
        session: an open transaction.
        tagged: also delete the missing photos that a person tagged, and these tags.
    """
    by_hand = _delete_tags_of_missing(session) if tagged else 0
    missing = list(session.scalars(select(Photo.id).where(MISSING, ~LAST_OF_TAGGED)))
    by_runs = tags.delete_tags_of(session, missing)
    for piece in in_pieces(missing):
        session.execute(delete(Photo).where(Photo.id.in_(piece)))
    contents = _delete_unused_contents(session)
    segments = _delete_empty_segments(session)
    tags.delete_unused_labels(session)
    changes.record_change(session, ())  # what was deleted had no indexed photo
    report = PruneReport(
        kept=session.scalar(select(func.count()).select_from(Photo).where(MISSING)) or 0,
        photos=len(missing),
        tags=by_runs + by_hand,
        contents=contents,
        segments=len(segments),
        bytes=sum(segment.size for segment in segments),
    )
    return report, FileNames(tuple(segment.file for segment in segments))


def prunable_segments(session: Session, *, tagged: bool = False) -> list[str]:
    """Return the files of segments that have vectors of photos alone that `prune` deletes."""
    of_photo = exists().where(
        VectorRow.segment_id == SegmentRow.id,
        Photo.content_id == VectorRow.content_id,
        ~MISSING if tagged else ~MISSING | LAST_OF_TAGGED,
    )
    return list(session.scalars(select(SegmentRow.file).where(~of_photo)))


def _delete_tags_of_missing(session: Session) -> int:
    """Delete the tags that a person gave to pictures without a photo; return how many."""
    has_photo = exists().where(Photo.content_id == HandTagRow.content_id, ~MISSING)
    gone = session.scalars(select(HandTagRow.content_id).where(~has_photo).distinct())
    return hand_tags.delete_of(session, list(gone))


def _delete_unused_contents(session: Session) -> int:
    """Delete contents without a photo, and their vectors; return how many.

    One of which a person said something is kept, because its photo may come back.
    """
    has_photo = exists().where(Photo.content_id == Content.id)
    without_photo = select(Content.id).where(~has_photo)
    session.execute(delete(VectorRow).where(VectorRow.content_id.in_(without_photo)))
    unused = without_photo.where(
        ~exists().where(HandTagRow.content_id == Content.id),
        ~exists().where(RefusalRow.content_id == Content.id),
        ~exists().where(JudgementRow.content_id == Content.id),
    )
    ids = list(session.scalars(unused))
    miniatures.delete_of(session, ids)
    for piece in in_pieces(ids):
        session.execute(delete(Content).where(Content.id.in_(piece)))
    return len(ids)


def _delete_empty_segments(session: Session) -> list[SegmentRow]:
    empty = ~exists().where(VectorRow.segment_id == SegmentRow.id)
    rows = list(session.scalars(select(SegmentRow).where(empty)))
    session.execute(delete(SegmentRow).where(empty))
    return rows
