"""The query for copies: what is stored of the bytes of some files."""

from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mkt_search.store.records import Copies
from mkt_search.store.sql.photos import in_pieces, stored_contents
from mkt_search.store.sql.schema import Content, Photo
from mkt_search.types import PhotoFacts


def find_copies(session: Session, contents: Collection[str], encoding_id: int) -> Copies:
    """Return what is stored of contents (SHA-256 in hex) under an encoding."""
    facts: dict[str, PhotoFacts] = {}
    missing: dict[str, list[tuple[int, str]]] = {}
    columns = [getattr(Photo, name) for name in PhotoFacts.__dataclass_fields__]
    encoded = stored_contents(session, contents, encoding_id)
    for piece in in_pieces([bytes.fromhex(content) for content in contents]):
        first = (
            select(func.min(Photo.id))
            .join(Content, Content.id == Photo.content_id)
            .where(Content.sha256.in_(piece), Photo.width.is_not(None))
            .where(Photo.state != "failed")
            .group_by(Photo.content_id)
        )
        rows = session.execute(
            select(Content.sha256, *columns)
            .join(Photo, Photo.content_id == Content.id)
            .where(Photo.id.in_(first))
        )
        facts.update((sha.hex(), PhotoFacts(*values)) for sha, *values in rows)
        vanished = session.execute(
            select(Content.sha256, Photo.id, Photo.path)
            .join(Photo, Photo.content_id == Content.id)
            .where(Content.sha256.in_(piece), Photo.state == "missing")
            .order_by(Photo.id)
        )
        for sha, id_, path in vanished:
            missing.setdefault(sha.hex(), []).append((id_, path))
    return Copies(frozenset(encoded), facts, missing)
