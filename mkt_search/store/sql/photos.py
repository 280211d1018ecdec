"""Queries about photos: files with a path, their state, and what the files say of themselves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, func, select, update
from sqlalchemy.orm import Session

from mkt_search.paths import path_to_text, text_to_path
from mkt_search.store.records import (
    FailedPhoto,
    KnownPhoto,
    NewPhoto,
    PhotoRecord,
    RootLocation,
)
from mkt_search.store.sql import refusals
from mkt_search.store.sql.checksums import checked, is_sound
from mkt_search.store.sql.filters import filtered
from mkt_search.store.sql.roots import roots_below
from mkt_search.store.sql.schema import Content, Photo, Root, TagRow, VectorRow
from mkt_search.store.sql.statements import in_pieces
from mkt_search.types import Filters, PhotoFacts, PhotoFile

PHOTOS_PER_FETCH = 1_000

# Reading


def photos(
    session: Session, *, state: str | None = None, filters: Filters | None = None
) -> Iterator[PhotoRecord]:
    """Yield photos in the order of their paths."""
    query = (
        select(Photo, Root.path, Content.sha256)
        .join(Root, Root.id == Photo.root_id)
        .outerjoin(Content, Content.id == Photo.content_id)
        .order_by(Root.path, Photo.path)
    )
    if state is not None:
        query = query.where(Photo.state == state)
    if filters is not None:
        query = filtered(query, filters)
    with session.execute(query.execution_options(yield_per=PHOTOS_PER_FETCH)) as rows:
        for photo, root, sha in rows:
            yield _record_of(photo, text_to_path(root), sha)


SOUND = and_(*(is_sound(row.__table__) for row in (Photo, Root, Content))).label("sound")
OF_CONTENTS = (  # built once, and of plain columns: every search waits for this query
    select(
        *Photo.__table__.c,
        Root.__table__.c.path.label("root"),
        Content.__table__.c.sha256,
        SOUND,
    )
    .join_from(Photo.__table__, Root.__table__)
    .join(Content.__table__, Content.id == Photo.content_id)
    .where(Photo.content_id.in_(bindparam("contents", expanding=True)), Photo.state == "indexed")
    .order_by(Photo.id)
)


def of_contents(
    session: Session, content_ids: Sequence[int], filters: Filters
) -> dict[int, list[PhotoRecord]]:
    """Return the indexed photos of contents by content id, the oldest row first.

    Raises:
        LibraryDamaged: a row has changed since it was written.
    """
    found: dict[int, list[PhotoRecord]] = {}
    for piece in in_pieces(content_ids):
        query = filtered(OF_CONTENTS, filters)
        for row in session.connection().execute(query, {"contents": piece}):
            checked(row, row.sound, "a photo")
            record = _record_of(row, text_to_path(row.root), row.sha256)
            found.setdefault(row.content_id, []).append(record)
    return found


def ids_of_contents(session: Session, content_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the ids of the indexed photos of contents, by content id."""
    found: dict[int, list[int]] = {}
    for piece in in_pieces(content_ids):
        rows = session.execute(
            select(Photo.content_id, Photo.id)
            .where(Photo.content_id.in_(piece), Photo.state == "indexed")
            .order_by(Photo.id)
        )
        for content, photo in rows:
            found.setdefault(content or 0, []).append(photo)
    return found


def at_path(session: Session, path: Path) -> PhotoRecord | None:
    """Return the photo at an absolute path, None if there is none."""
    for root in session.scalars(select(Root)):
        folder = text_to_path(root.path)
        if not path.is_relative_to(folder):
            continue
        row = session.execute(
            select(Photo, Content.sha256)
            .outerjoin(Content, Content.id == Photo.content_id)
            .where(Photo.root_id == root.id, Photo.path == path_to_text(path.relative_to(folder)))
        ).first()
        if row is not None:
            return _record_of(row[0], folder, row[1])
    return None


def count_indexed(session: Session) -> int:
    """Count the photos that can be found."""
    query = select(func.count()).select_from(Photo).where(Photo.state == "indexed")
    return session.scalar(query) or 0


def count_by_state(session: Session) -> dict[str, int]:
    """Count photos by state."""
    rows = session.execute(select(Photo.state, func.count()).group_by(Photo.state))
    return {state: number for state, number in rows}


def count_duplicates(session: Session) -> int:
    """Count the indexed photos that have the bytes of another one."""
    query = select(func.count(Photo.id), func.count(Photo.content_id.distinct()))
    photos, contents = session.execute(query.where(Photo.state == "indexed")).one()
    return photos - contents


def _record_of(photo: Any, root: Path, sha: bytes | None) -> PhotoRecord:
    facts = None
    if photo.width is not None:
        values = {name: getattr(photo, name) for name in PhotoFacts.__dataclass_fields__}
        facts = PhotoFacts(**values)
    return PhotoRecord(
        photo.id,
        root,
        photo.path,
        sha.hex() if sha else None,
        photo.state,
        photo.error,
        photo.size,
        facts,
    )


def known(
    session: Session, location: RootLocation, encoding_id: int | None
) -> dict[str, KnownPhoto]:
    """Return the photos below a location, by path relative to its root."""
    if location.id is not None:
        return _known(session, location.id, location.prefix, encoding_id)
    return {
        prefix + path: photo
        for root_id, prefix in roots_below(session, location.path).items()
        for path, photo in _known(session, root_id, "", encoding_id).items()
    }


def _known(
    session: Session, root_id: int, prefix: str, encoding_id: int | None
) -> dict[str, KnownPhoto]:
    has_vectors = exists().where(
        VectorRow.content_id == Photo.content_id, VectorRow.encoding_id == encoding_id
    )
    below = func.substr(Photo.path, 1, len(prefix)) == prefix  # LIKE would take "a" for "A"
    rows = session.execute(
        select(
            Photo.path,
            Photo.id,
            Photo.size,
            Photo.mtime_ns,
            Content.sha256,
            Photo.state,
            Photo.error,
            has_vectors,
        )
        .outerjoin(Content, Content.id == Photo.content_id)
        .where(Photo.root_id == root_id, below)
    )
    return {
        path: KnownPhoto(id_, size, mtime, sha.hex() if sha else None, state, error, vectors)
        for path, id_, size, mtime, sha, state, error, vectors in rows
    }


# Writing


def record(
    session: Session,
    location: RootLocation,
    photos: Sequence[NewPhoto],
    failed: Sequence[FailedPhoto],
    ids: dict[str, int],
) -> set[int]:
    """Insert or update the rows of a batch.

    Args:
        session: an open transaction.
        location: the registered root of all paths.
        photos: photos that can be found from now on.
        failed: files that cannot.
        ids: the id of every content among them.

    Returns:
        The ids of all contents that these photos had before or have now.
    """
    touched: set[int | None] = set()
    files = [photo.file for photo in photos] + [failure.file for failure in failed]
    rows = _rows_by_path(session, location, [file.path for file in files])
    for photo in photos:
        row = rows.get(photo.file.path)
        if row is None and photo.renames is not None:
            row = session.get(Photo, photo.renames)
        row = _set_file(session, row, location, photo.file)
        touched |= {row.content_id, ids[photo.content]}
        _set_content(session, row, ids[photo.content])
        row.state, row.error = "indexed", None
        for name in PhotoFacts.__dataclass_fields__:
            setattr(row, name, getattr(photo.facts, name))
    for failure in failed:
        row = _set_file(session, rows.get(failure.file.path), location, failure.file)
        touched.add(row.content_id)
        if failure.content:  # else the file could not be read at all: its bytes may be as before
            _set_content(session, row, ids[failure.content])
        row.state, row.error = "failed", failure.reason
    session.flush()
    return {content for content in touched if content is not None}


def mark_missing(session: Session, photo_ids: Sequence[int]) -> None:
    """Record that files are gone; nothing is deleted."""
    for piece in in_pieces(photo_ids):
        session.execute(update(Photo).where(Photo.id.in_(piece)).values(state="missing"))


def update_file_stat(session: Session, photo_id: int, file: PhotoFile) -> None:
    """Record the size and time of a file that exists and whose bytes are as before."""
    session.execute(
        update(Photo)
        .where(Photo.id == photo_id)
        .values(size=file.size, mtime_ns=file.mtime_ns, state="indexed", error=None)
    )


def _rows_by_path(
    session: Session, location: RootLocation, paths: Sequence[str]
) -> dict[str, Photo]:
    found: dict[str, Photo] = {}
    for piece in in_pieces(paths):
        query = select(Photo).where(Photo.root_id == location.id, Photo.path.in_(piece))
        found.update((row.path, row) for row in session.scalars(query))
    return found


def _set_file(
    session: Session, row: Photo | None, location: RootLocation, file: PhotoFile
) -> Photo:
    assert location.id is not None
    if row is None:
        row = Photo()
        session.add(row)
    row.root_id, row.path = location.id, file.path
    row.size, row.mtime_ns = file.size, file.mtime_ns
    return row


def _set_content(session: Session, row: Photo, content_id: int) -> None:
    """Set the content of a photo; new bytes lose automatic tags, which described other pixels."""
    if row.content_id not in (None, content_id):
        stale = delete(TagRow).where(TagRow.photo_id == row.id, TagRow.source == "auto")
        session.execute(stale)
        if row.content_id is not None:
            refusals.carry(session, row.content_id, content_id)
    row.content_id = content_id
