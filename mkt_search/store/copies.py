"""What the library knows of some bytes: if they have vectors, their facts, their lost photos."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select

from mkt_search.store.sql.catalog import in_pieces, stored_contents
from mkt_search.store.sql.database import reading
from mkt_search.store.sql.schema import Content, Photo
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import PhotoFacts


@dataclass(frozen=True)
class Copies:
    """What is known of some contents (hex SHA-256).

    `encoded` have vectors; `facts` are those of a photo with these bytes; `missing` lists the
    photos of these bytes whose files vanished, as (id, path), oldest first.
    """

    encoded: frozenset[str] = frozenset()
    facts: Mapping[str, PhotoFacts] = field(default_factory=dict)
    missing: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)


def find_copies(store: Store, contents: Collection[str], stored: StoredEncoding) -> Copies:
    """Look contents up under an encoding."""
    facts: dict[str, PhotoFacts] = {}
    missing: dict[str, list[tuple[int, str]]] = {}
    names = [getattr(Photo, name) for name in PhotoFacts.__dataclass_fields__]
    with reading(store.engine) as session:
        encoded = stored_contents(session, contents, stored.id)
        for piece in in_pieces([bytes.fromhex(content) for content in contents]):
            first = (
                select(func.min(Photo.id))
                .join(Content, Content.id == Photo.content_id)
                .where(Content.sha256.in_(piece), Photo.width.is_not(None))
                .where(Photo.state != "failed")
                .group_by(Photo.content_id)
            )
            rows = session.execute(
                select(Content.sha256, *names)
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
