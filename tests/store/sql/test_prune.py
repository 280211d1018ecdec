"""Pruning deletes what no photo needs, and nothing else."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.manifest import FileNames
from mkt_search.store.sql import changes, tags
from mkt_search.store.sql.prune import prunable_segments, prune
from mkt_search.store.sql.schema import Content, LabelRow, Photo, SegmentRow
from tests.store.sql.conftest import Rows


def count(session: Session, table: type) -> int:
    return len(list(session.scalars(select(table))))


def test_missing_photos_go_with_what_only_they_needed(session: Session, rows: Rows) -> None:
    encoding = rows.encoding()
    kept, gone = rows.photo("kept.jpg"), rows.photo("gone.jpg", state="missing")
    failed = rows.photo("failed.jpg", state="failed")
    rows.segment(encoding, "kept", [kept.content_id, failed.content_id])
    rows.segment(encoding, "gone", [gone.content_id])
    tags.add_by_hand(session, [kept.id, gone.id], "both")
    tags.add_by_hand(session, [gone.id], "gone only")
    assert prunable_segments(session) == ["gone"]
    report, unused = prune(session)
    assert (report.photos, report.tags, report.contents, report.segments) == (1, 2, 1, 1)
    assert report.bytes == 100
    assert unused == FileNames(("gone",), ())
    assert count(session, Photo) == count(session, Content) == 2
    assert [label.name for label in session.scalars(select(LabelRow))] == ["both"]
    assert [segment.file for segment in session.scalars(select(SegmentRow))] == ["kept"]
    assert changes.revision(session) == 1


def test_a_content_stays_while_another_photo_has_it(session: Session, rows: Rows) -> None:
    encoding = rows.encoding()
    first = rows.photo("a.jpg", state="missing")
    rows.photo("copy.jpg", content="a.jpg")
    rows.segment(encoding, "one", [first.content_id])
    report, unused = prune(session)
    assert (report.photos, report.contents, report.segments) == (1, 0, 0)
    assert unused == FileNames()


def test_a_sound_library_loses_nothing(session: Session, rows: Rows) -> None:
    rows.segment(rows.encoding(), "one", [rows.photo("a.jpg").content_id])
    report, unused = prune(session)
    assert (report.photos, report.tags, report.contents, report.segments) == (0, 0, 0, 0)
    assert unused == FileNames() and count(session, Photo) == 1
