"""The journal: which contents changed at which revision, so that a reader can catch up.

Every commit that changes what a search could find raises the revision, and records the contents
that a search may now find, find elsewhere or no longer find. A content has one row, for its latest
change. Changes up to `since` were deleted: a reader that is further behind reads everything.
"""

from collections.abc import Iterable

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from mkt_search.store.sql.schema import ChangeRow, Revision
from mkt_search.store.sql.statements import in_pieces


def revision(session: Session) -> int:
    """Return a number that grows with every change of what a search could find."""
    return session.connection().scalar(select(Revision.__table__.c.number)) or 0


def record_change(session: Session, content_ids: Iterable[int]) -> None:
    """Raise the revision and record the contents that changed: all of them."""
    session.execute(update(Revision).values(number=Revision.number + 1))
    number, ids = revision(session), sorted(set(content_ids))
    for piece in in_pieces(ids):
        session.execute(delete(ChangeRow).where(ChangeRow.content_id.in_(piece)))
        rows = [{"content_id": id_, "revision": number} for id_ in piece]
        session.execute(insert(ChangeRow), rows)


def covers(session: Session, since: int) -> bool:
    """Return True if the journal has every change after a revision."""
    kept = session.scalar(select(Revision.since))
    return kept is not None and since >= kept


def changed(session: Session, since: int) -> list[int]:
    """Return the ids of contents that changed after a revision; the journal must cover it."""
    query = select(ChangeRow.__table__.c.content_id).where(ChangeRow.revision > since)
    return list(session.connection().scalars(query))


def delete_changes(session: Session, until: int) -> None:
    """Delete the changes up to a revision, inclusive."""
    session.execute(delete(ChangeRow).where(ChangeRow.revision <= until))
    session.execute(update(Revision).values(since=until))
