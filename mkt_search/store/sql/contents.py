"""Queries about contents: the bytes of files, known by their SHA-256 and by an integer id."""

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from sqlalchemy import Integer, func, insert, select, type_coerce, update
from sqlalchemy.orm import Session

from mkt_search.store.records import Copies, ShownContents
from mkt_search.store.sql import miniatures
from mkt_search.store.sql.checksums import checked, is_sound
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.filters import filtered
from mkt_search.store.sql.schema import Content, Photo, Revision, Root, VectorRow
from mkt_search.store.sql.statements import in_pieces
from mkt_search.store.sql.vectors import numbers
from mkt_search.types import Filters, PhotoFacts

KEY_BYTES = 8  # of the SHA-256, see `ShownContents`


def ids_of(session: Session, contents: Sequence[str]) -> dict[str, int]:
    """Return the ids of those contents (SHA-256 in hex) that the library has."""
    found: dict[str, int] = {}
    for piece in in_pieces([bytes.fromhex(content) for content in contents]):
        rows = session.execute(select(Content.sha256, Content.id).where(Content.sha256.in_(piece)))
        found.update((sha.hex(), id_) for sha, id_ in rows)
    return found


def add(session: Session, contents: Iterable[str]) -> dict[str, int]:
    """Return the id of every content; new ones get ids that no content ever had, rising."""
    wanted = list(dict.fromkeys(contents))
    ids = ids_of(session, wanted)
    new = [content for content in wanted if content not in ids]
    if not new:
        return ids
    given = update(Revision).values(newest_content=Revision.newest_content + len(new))
    newest = session.scalars(given.returning(Revision.newest_content)).one()
    new_ids = dict(zip(new, range(newest - len(new) + 1, newest + 1), strict=True))
    rows = [{"id": id_, "sha256": bytes.fromhex(content)} for content, id_ in new_ids.items()]
    session.execute(insert(Content), rows)
    return ids | new_ids


def sha256s(session: Session, content_ids: Sequence[int]) -> dict[int, bytes]:
    """Return the SHA-256 of contents; those that are gone are left out. Raises LibraryDamaged."""
    found: dict[int, bytes] = {}
    content = Content.__table__.c
    for piece in in_pieces(content_ids):
        query = select(content.id, content.sha256, is_sound(Content.__table__))
        rows = session.connection().execute(query.where(content.id.in_(piece)))
        found.update((id_, checked(sha, sound, "a photo's bytes")) for id_, sha, sound in rows)
    return found


def with_vectors(
    session: Session, contents: Collection[str], encoding_ids: Sequence[int]
) -> set[str]:
    """Return those of the contents (SHA-256 in hex) with vectors under one of some encodings."""
    names = {id_: content for content, id_ in ids_of(session, [*contents]).items()}
    found: set[str] = set()
    for piece in in_pieces([*names]):
        rows = session.scalars(
            select(VectorRow.content_id).where(
                VectorRow.encoding_id.in_(encoding_ids), VectorRow.content_id.in_(piece)
            )
        )
        found.update(names[id_] for id_ in rows)
    return found


def matching(session: Session, filters: Filters) -> list[int]:
    """Return the ids of contents that have an indexed photo which meets the filters."""
    query = (
        select(Photo.content_id)
        .join(Root, Root.id == Photo.root_id)
        .where(Photo.state == "indexed", Photo.content_id.is_not(None))
        .distinct()
    )
    return [id_ for id_ in session.scalars(filtered(query, filters)) if id_ is not None]


def shown(session: Session) -> ShownContents:
    """Return every content that has an indexed photo, by rising id of its oldest one."""
    is_indexed = Photo.state == "indexed", Photo.content_id.is_not(None)
    oldest = func.min(Photo.id).label("oldest")
    found = numbers(
        session.connection().execute(
            select(type_coerce(Photo.content_id, Integer), type_coerce(oldest, Integer))
            .where(*is_indexed)
            .group_by(Photo.content_id)
            .order_by(Photo.content_id)
        ),
        columns=2,
    )
    rows = session.connection().execute(
        select(Content.sha256)
        .where(Content.id.in_(select(Photo.content_id).where(*is_indexed)))
        .order_by(Content.id)
    )
    keys = np.frombuffer(b"".join(sha[:KEY_BYTES] for (sha,) in rows), ">u8").astype(np.uint64)
    if len(keys) != len(found):
        raise impossible("a photo without its content")
    order = np.argsort(found[:, 1], kind="stable")
    return ShownContents(found[order, 0], found[order, 1], keys[order])


def of_photos(session: Session, photo_ids: Sequence[int]) -> set[int]:
    """Return the content ids of photos, whatever state they are in."""
    found: set[int | None] = set()
    for piece in in_pieces(photo_ids):
        found.update(session.scalars(select(Photo.content_id).where(Photo.id.in_(piece))))
    return {content for content in found if content is not None}


def copies(session: Session, contents: Collection[str], encoding_id: int) -> Copies:
    """Return what is stored of contents (SHA-256 in hex) under an encoding."""
    facts: dict[str, PhotoFacts] = {}
    missing: dict[str, list[tuple[int, str]]] = {}
    for piece in in_pieces([bytes.fromhex(content) for content in contents]):
        facts.update(_facts(session, piece))
        for content, photo_id, path in _missing_photos(session, piece):
            missing.setdefault(content, []).append((photo_id, path))
    encoded = with_vectors(session, contents, [encoding_id])
    return Copies(frozenset(encoded), facts, missing, miniatures.of_contents(session, contents))


def _facts(session: Session, sha256s: Sequence[bytes]) -> dict[str, PhotoFacts]:
    """Return the facts of the oldest readable photo of each content."""
    columns = [getattr(Photo, name) for name in PhotoFacts.__dataclass_fields__]
    oldest = (
        select(func.min(Photo.id))
        .join(Content, Content.id == Photo.content_id)
        .where(Content.sha256.in_(sha256s), Photo.width.is_not(None), Photo.state != "failed")
        .group_by(Photo.content_id)
    )
    rows = session.execute(
        select(Content.sha256, *columns)
        .join(Photo, Photo.content_id == Content.id)
        .where(Photo.id.in_(oldest))
    )
    return {sha.hex(): PhotoFacts(*values) for sha, *values in rows}


def _missing_photos(session: Session, sha256s: Sequence[bytes]) -> list[tuple[str, int, str]]:
    """Return (content, photo id, path) of missing photos, oldest first."""
    rows = session.execute(
        select(Content.sha256, Photo.id, Photo.path)
        .join(Photo, Photo.content_id == Content.id)
        .where(Content.sha256.in_(sha256s), Photo.state == "missing")
        .order_by(Photo.id)
    )
    return [(sha.hex(), id_, path) for sha, id_, path in rows]
