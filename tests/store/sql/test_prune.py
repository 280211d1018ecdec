"""Pruning deletes what no photo needs, and nothing else."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.manifest import FileNames
from mkt_search.store.sql import auto_tags, changes, hand_tags, runs, tags
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
    run = runs.start(session, "tag", {}, "test")
    ids = tags.label_ids(session, ["both", "gone only"])
    found = [(kept.id, "both", 0.5), (gone.id, "both", 0.5), (gone.id, "gone only", 0.5)]
    new = [(photo, ids[label], score, None) for photo, label, score in found]
    auto_tags.add(session, run, new)
    assert prunable_segments(session) == ["gone"]
    report, unused = prune(session)
    assert (report.photos, report.tags, report.contents, report.segments) == (1, 2, 1, 1)
    assert (report.kept, report.bytes) == (0, 100)
    assert unused == FileNames(("gone",), ())
    assert count(session, Photo) == count(session, Content) == 2
    assert [label.name for label in session.scalars(select(LabelRow))] == ["both"]
    assert [segment.file for segment in session.scalars(select(SegmentRow))] == ["kept"]
    assert changes.revision(session) == 1


def test_a_missing_photo_that_a_person_tagged_goes_only_if_asked_for(
    session: Session, rows: Rows
) -> None:
    gone = rows.photo("gone.jpg", state="missing")
    rows.segment(rows.encoding(), "gone", [gone.content_id])
    hand_tags.add(session, [gone.id], "mine")
    assert prunable_segments(session) == []
    assert prunable_segments(session, tagged=True) == ["gone"]
    report, unused = prune(session)
    assert (report.kept, report.photos, report.tags, report.contents) == (1, 0, 0, 0)
    assert unused == FileNames()
    assert [tag.label for tag in tags.current(session)] == ["mine"]
    report, unused = prune(session, tagged=True)
    assert (report.kept, report.photos, report.tags, report.contents) == (0, 1, 1, 1)
    assert unused == FileNames(("gone",), ())
    assert count(session, Photo) == count(session, Content) == count(session, LabelRow) == 0


def test_a_missing_photo_goes_if_its_picture_is_elsewhere(session: Session, rows: Rows) -> None:
    gone = rows.photo("gone.jpg", state="missing")
    rows.photo("copy.jpg", content="gone.jpg")
    hand_tags.add(session, [gone.id], "mine")
    for asked in (False, True):
        report, _ = prune(session, tagged=asked)
        assert (report.kept, report.photos, report.tags) == (0, not asked, 0)
        assert [tag.path.name for tag in tags.current(session)] == ["copy.jpg"]


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
