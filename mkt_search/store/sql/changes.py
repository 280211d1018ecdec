"""What changed and when: the journal a reader catches up by, instead of reading every row again.

Every commit that changes what a search could find raises the revision and notes under it the
contents that a search may now find, find elsewhere or find no more. A content stands in the journal
once, under its last change. What came before `since` is forgotten, so a reader that is further
behind reads everything.
"""

from collections.abc import Iterable

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from mkt_search.store.sql.photos import in_pieces
from mkt_search.store.sql.schema import ChangeRow, Revision


def revision(session: Session) -> int:
    """Return the number that grows with every change of what a search could find."""
    return session.connection().scalar(select(Revision.__table__.c.number)) or 0


def bump(session: Session, contents: Iterable[int]) -> None:
    """Say that what a search could find has changed: these content ids, and none but these."""
    session.execute(update(Revision).values(number=Revision.number + 1))
    number, ids = revision(session), sorted(set(contents))
    for piece in in_pieces(ids):
        session.execute(delete(ChangeRow).where(ChangeRow.content_id.in_(piece)))
        rows = [{"content_id": id_, "revision": number} for id_ in piece]
        session.execute(insert(ChangeRow), rows)


def reaches(session: Session, since: int) -> bool:
    """Say whether the journal has everything that changed after a revision."""
    kept = session.scalar(select(Revision.since))
    return kept is not None and since >= kept


def changed(session: Session, since: int) -> list[int]:
    """Return the ids of the contents that changed after a revision which the journal `reaches`."""
    query = select(ChangeRow.__table__.c.content_id).where(ChangeRow.revision > since)
    return list(session.connection().scalars(query))


def forget(session: Session, until: int) -> None:
    """Forget the changes up to a revision and with it."""
    session.execute(delete(ChangeRow).where(ChangeRow.revision <= until))
    session.execute(update(Revision).values(since=until))
