"""The journal of changes."""

from sqlalchemy.orm import Session

from mkt_search.store.sql import changes
from mkt_search.store.sql.statements import VALUES_PER_LIST


def test_every_change_raises_the_revision(session: Session) -> None:
    assert changes.revision(session) == 0
    changes.record_change(session, [7, 3])
    changes.record_change(session, [])
    assert changes.revision(session) == 2


def test_a_content_has_one_row_for_its_latest_change(session: Session) -> None:
    changes.record_change(session, [1, 2])
    changes.record_change(session, [2, 3, 2])
    assert sorted(changes.changed(session, 0)) == [1, 2, 3]
    assert sorted(changes.changed(session, 1)) == [2, 3]
    assert changes.changed(session, 2) == []


def test_the_journal_covers_what_was_not_deleted(session: Session) -> None:
    for content_id in (1, 2, 3):
        changes.record_change(session, [content_id])
    assert changes.covers(session, 0)
    changes.delete_changes(session, until=2)
    assert not changes.covers(session, 1)
    assert changes.covers(session, 2)
    assert changes.changed(session, 2) == [3]


def test_more_contents_than_one_statement_takes(session: Session) -> None:
    many = list(range(VALUES_PER_LIST + 5))
    changes.record_change(session, many)
    changes.record_change(session, many[:-1])
    assert changes.changed(session, 0) and sorted(changes.changed(session, 0)) == many
    assert sorted(changes.changed(session, 1)) == many[:-1]
