"""Delete what no photo needs: missing photos, their tags, unused contents and segments."""

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from mkt_search.store.manifest import FileNames
from mkt_search.store.records import PruneReport
from mkt_search.store.sql import changes, tags
from mkt_search.store.sql.schema import Content, Photo, RefusalRow, SegmentRow, VectorRow
from mkt_search.store.sql.statements import in_pieces


def prune(session: Session) -> tuple[PruneReport, FileNames]:
    """Delete missing photos with their tags, and contents, labels and segments without a use."""
    missing = list(session.scalars(select(Photo.id).where(Photo.state == "missing")))
    deleted_tags = tags.delete_tags_of(session, missing)
    for piece in in_pieces(missing):
        session.execute(delete(Photo).where(Photo.id.in_(piece)))
    contents = _delete_unused_contents(session)
    segments = _delete_empty_segments(session)
    tags.delete_unused_labels(session)
    changes.record_change(session, ())  # what was deleted had no indexed photo
    report = PruneReport(
        photos=len(missing),
        tags=deleted_tags,
        contents=contents,
        segments=len(segments),
        bytes=sum(segment.size for segment in segments),
    )
    return report, FileNames(tuple(segment.file for segment in segments))


def prunable_segments(session: Session) -> list[str]:
    """Return the files of segments that have vectors of missing photos alone."""
    of_photo = exists().where(
        VectorRow.segment_id == SegmentRow.id,
        Photo.content_id == VectorRow.content_id,
        Photo.state != "missing",
    )
    return list(session.scalars(select(SegmentRow.file).where(~of_photo)))


def _delete_unused_contents(session: Session) -> int:
    """Delete contents without a photo, and their vectors; return how many.

    One of which a person refused a label is kept, because its photo may come back.
    """
    has_photo = exists().where(Photo.content_id == Content.id)
    without_photo = select(Content.id).where(~has_photo)
    session.execute(delete(VectorRow).where(VectorRow.content_id.in_(without_photo)))
    unused = ~has_photo & ~exists().where(RefusalRow.content_id == Content.id)
    count = session.scalar(select(func.count()).select_from(Content).where(unused)) or 0
    session.execute(delete(Content).where(unused))
    return count


def _delete_empty_segments(session: Session) -> list[SegmentRow]:
    empty = ~exists().where(VectorRow.segment_id == SegmentRow.id)
    rows = list(session.scalars(select(SegmentRow).where(empty)))
    session.execute(delete(SegmentRow).where(empty))
    return rows
