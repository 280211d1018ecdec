"""Queries about miniatures, which tell an edit of a content from another picture."""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mkt_search.store.sql.checksums import is_sound
from mkt_search.store.sql.schema import Content, MiniatureRow
from mkt_search.store.sql.statements import in_pieces, insert_new


def of_contents(session: Session, contents: Collection[str]) -> dict[str, bytes]:
    """Return the miniatures of contents (SHA-256 in hex) that have a sound one."""
    found: dict[str, bytes] = {}
    for piece in in_pieces([bytes.fromhex(content) for content in sorted(contents)]):
        rows = session.execute(
            select(Content.sha256, MiniatureRow.miniature)
            .join(MiniatureRow, MiniatureRow.content_id == Content.id)
            .where(Content.sha256.in_(piece), is_sound(MiniatureRow.__table__))
        )
        found.update((sha.hex(), miniature) for sha, miniature in rows)
    return found


def add(session: Session, miniatures: Mapping[int, bytes]) -> None:
    """Add miniatures by content id; a content that has one keeps it."""
    rows = [
        {"content_id": content, "miniature": miniature} for content, miniature in miniatures.items()
    ]
    if rows:
        insert_new(session, MiniatureRow, rows)


def delete_of(session: Session, contents: Iterable[int]) -> None:
    """Delete the miniatures of contents."""
    for piece in in_pieces(list(contents)):
        session.execute(delete(MiniatureRow).where(MiniatureRow.content_id.in_(piece)))
