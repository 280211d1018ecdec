"""Queries about photos: files with a path, their state, and what the files say of themselves."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.orm import Session

from mkt_search.paths import path_to_text, text_to_path
from mkt_search.store.records import (
    FailedPhoto,
    KnownPhoto,
    NewPhoto,
    PhotoRecord,
    Place,
    RootLocation,
)
from mkt_search.store.sql import hand_tags, judgements
from mkt_search.store.sql.checksums import checked, is_sound
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.filters import HAS_COPY, filtered
from mkt_search.store.sql.roots import roots_below
from mkt_search.store.sql.schema import Content, Photo, Root, TagRow, VectorRow
from mkt_search.store.sql.statements import in_pieces
from mkt_search.types import Filters, PhotoFacts, PhotoFile

PHOTOS_PER_FETCH = 1_000

KEPT_OF_REPLACED = (
    *("root_id", "path", "size", "mtime_ns", "content_id"),
    *PhotoFacts.__dataclass_fields__,
)
"""What is kept of a picture that another one has replaced."""

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
            .where(
                Photo.root_id == root.id,
                Photo.path == path_to_text(path.relative_to(folder)),
                Photo.replaced == 0,
            )
        ).first()
        if row is not None:
            return _record_of(row[0], folder, row[1])
    return None


_WITH_PLACE = (
    select(Photo, Root.path, Content.sha256)
    .join(Root, Root.id == Photo.root_id)
    .outerjoin(Content, Content.id == Photo.content_id)
)


def of_ids(session: Session, ids: Sequence[int]) -> dict[int, PhotoRecord]:
    """Return photos by id; those that the library does not have are left out."""
    found: dict[int, PhotoRecord] = {}
    for piece in in_pieces(ids):
        for photo, root, sha in session.execute(_WITH_PLACE.where(Photo.id.in_(piece))):
            found[photo.id] = _record_of(photo, text_to_path(root), sha)
    return found


def after(session: Session, photo_id: int, *, state: str | None, count: int) -> list[PhotoRecord]:
    """Return the first photos with a larger id, in the order of their ids."""
    query = _WITH_PLACE.where(Photo.id > photo_id).order_by(Photo.id).limit(count)
    if state is not None:
        query = query.where(Photo.state == state)
    return [_record_of(p, text_to_path(root), sha) for p, root, sha in session.execute(query)]


def count_indexed(session: Session) -> int:
    """Count the photos that can be found."""
    query = select(func.count()).select_from(Photo).where(Photo.state == "indexed")
    return session.scalar(query) or 0


def replaced(session: Session) -> set[int]:
    """Return the ids of missing photos whose paths other pictures have taken."""
    return set(session.scalars(select(Photo.id).where(Photo.replaced != 0)))


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
        if None in (values["height"], values["format"], values["orientation"]):
            raise impossible("a photo with a width and without its other facts")
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
        photo.mtime_ns,
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


def known_paths(
    session: Session, location: RootLocation, paths: Sequence[str], encoding_id: int | None
) -> dict[str, KnownPhoto]:
    """Return the photos at some paths, relative to the root of a registered location."""
    found: dict[str, KnownPhoto] = {}
    for piece in in_pieces(list(paths)):
        rows = _known_rows(encoding_id).where(Photo.root_id == location.id, Photo.path.in_(piece))
        found.update(_by_path(session.execute(rows)))
    return found


def _known(
    session: Session, root_id: int, prefix: str, encoding_id: int | None
) -> dict[str, KnownPhoto]:
    below = func.substr(Photo.path, 1, len(prefix)) == prefix  # LIKE would take "a" for "A"
    rows = _known_rows(encoding_id).where(Photo.root_id == root_id, below)
    return _by_path(session.execute(rows))


def _known_rows(encoding_id: int | None) -> Select[*tuple[Any, ...]]:
    has_vectors = exists().where(
        VectorRow.content_id == Photo.content_id, VectorRow.encoding_id == encoding_id
    )
    lacks_miniature = Photo.content_id.in_(hand_tags.WITHOUT_MINIATURE)
    return (
        select(
            Photo.path,
            Photo.id,
            Photo.size,
            Photo.mtime_ns,
            Content.sha256,
            Photo.state,
            Photo.error,
            has_vectors.label("has_vectors"),
            lacks_miniature.label("lacks_miniature"),
        )
        .outerjoin(Content, Content.id == Photo.content_id)
        .where(Photo.replaced == 0)
    )


def _by_path(rows: Iterable[Row[*tuple[Any, ...]]]) -> dict[str, KnownPhoto]:
    return {
        row.path: KnownPhoto(
            row.id,
            row.size,
            row.mtime_ns,
            row.sha256.hex() if row.sha256 else None,
            row.state,
            row.error,
            row.has_vectors,
            row.lacks_miniature,
        )
        for row in rows
    }


def places(session: Session, contents: Collection[str]) -> dict[str, list[Place]]:
    """Return where the library has, or had, the photos of contents (SHA-256 in hex)."""
    found: dict[str, list[Place]] = {}
    for piece in in_pieces([bytes.fromhex(content) for content in sorted(contents)]):
        rows = session.execute(
            select(Content.sha256, Root.path, Photo.path, Photo.size, Photo.mtime_ns)
            .join(Photo, Photo.content_id == Content.id)
            .join(Root, Root.id == Photo.root_id)
            .where(Content.sha256.in_(piece))
        )
        for sha, root, path, size, mtime_ns in rows:
            file = text_to_path(root) / text_to_path(path)
            found.setdefault(sha.hex(), []).append(Place(file, size, mtime_ns))
    return found


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
    renamed = _move_renamed(session, location, photos)
    rows = _rows_by_path(session, location, [file.path for file in files])
    for photo in photos:
        content = ids[photo.content]
        row = renamed.get(photo.file.path) or rows.get(photo.file.path) or Photo(replaced=0)
        touched |= {row.content_id, content}
        _set_content(session, row, content, is_edit=photo.is_edit)
        _set_file(session, row, location, photo.file)
        row.state, row.error = "indexed", None
        for name in PhotoFacts.__dataclass_fields__:
            setattr(row, name, getattr(photo.facts, name))
    for failure in failed:
        row = rows.get(failure.file.path) or Photo(replaced=0)
        touched.add(row.content_id)
        is_other = row.content_id is None or row.state == "missing"
        if failure.content and is_other:  # else it is the picture that it was, unreadable for now
            _set_content(session, row, ids[failure.content], is_edit=False)
            touched.add(row.content_id)
        _set_file(session, row, location, failure.file)
        row.state, row.error = "failed", failure.reason
    session.flush()
    found = {content for content in touched if content is not None}
    forget_replaced(session, found)
    return found


def mark_missing(session: Session, photo_ids: Sequence[int]) -> None:
    """Record that files are gone; nothing is deleted."""
    for piece in in_pieces(photo_ids):
        session.execute(update(Photo).where(Photo.id.in_(piece)).values(state="missing"))


def mark_returned(session: Session, files: Sequence[tuple[int, PhotoFile]]) -> None:
    """Record the sizes and times of missing files that are back, with the bytes they had."""
    for photo_id, file in files:
        session.execute(
            update(Photo)
            .where(Photo.id == photo_id)
            .values(size=file.size, mtime_ns=file.mtime_ns, state="indexed", error=None)
        )


def _move_renamed(
    session: Session, location: RootLocation, photos: Sequence[NewPhoto]
) -> dict[str, Photo]:
    """Move the rows of missing photos to the paths where they are now; return them by path.

    Before any other row: a photo of the batch may be at the path that one of them had.
    """
    renamed: dict[str, Photo] = {}
    for photo in photos:
        row = session.get(Photo, photo.renames) if photo.renames is not None else None
        if row is not None:
            _set_file(session, row, location, photo.file)
            row.replaced = 0
            renamed[photo.file.path] = row
    session.flush()
    return renamed


def _rows_by_path(
    session: Session, location: RootLocation, paths: Sequence[str]
) -> dict[str, Photo]:
    found: dict[str, Photo] = {}
    for piece in in_pieces(paths):
        query = select(Photo).where(
            Photo.root_id == location.id, Photo.path.in_(piece), Photo.replaced == 0
        )
        found.update((row.path, row) for row in session.scalars(query))
    return found


def _set_file(session: Session, row: Photo, location: RootLocation, file: PhotoFile) -> None:
    assert location.id is not None
    row.root_id, row.path = location.id, file.path
    row.size, row.mtime_ns = file.size, file.mtime_ns
    session.add(row)


def _set_content(session: Session, row: Photo, content_id: int, *, is_edit: bool) -> None:
    """Set the content of a photo.

    An edit gets the tags that a person gave to the old bytes. Otherwise these tags stay with the
    old bytes, and if those are nowhere else, a missing photo keeps their place. Tags of runs
    described other pixels, and go.
    """
    old = row.content_id
    if old not in (None, content_id):
        if is_edit:
            hand_tags.carry(session, old, content_id)
            judgements.carry(session, old, content_id)
        elif hand_tags.is_tagged(session, old):
            _keep_replaced(session, row)
        session.execute(delete(TagRow).where(TagRow.photo_id == row.id))
    row.content_id = content_id


def _keep_replaced(session: Session, row: Photo) -> None:
    """Add a missing photo for the picture that a row had, unless another photo has its bytes."""
    has_copy = exists().where(Photo.content_id == row.content_id, Photo.id != row.id)
    if session.scalar(select(has_copy)):
        return
    same = {name: getattr(row, name) for name in KEPT_OF_REPLACED}
    kept = Photo(**same, state="missing", replaced=row.id)
    session.add(kept)
    session.flush()
    kept.replaced = kept.id


def forget_replaced(session: Session, content_ids: set[int]) -> None:
    """Delete the rows of replaced pictures that are found again."""
    for piece in in_pieces(sorted(content_ids)):
        found_again = (Photo.replaced != 0, Photo.content_id.in_(piece), HAS_COPY)
        ids = list(session.scalars(select(Photo.id).where(*found_again)))
        session.execute(delete(Photo).where(Photo.id.in_(ids)))
