"""The queries about photos: their folders, contents, facts and filters. SQL only, no vectors."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Select, bindparam, delete, exists, func, select, update
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.store.records import (
    FailedPhoto,
    KnownPhoto,
    NewPhoto,
    PhotoRecord,
    RootLocation,
)
from mkt_search.store.sql.schema import (
    Content,
    LabelRow,
    Photo,
    Root,
    TagRow,
    VectorRow,
)
from mkt_search.types import Filters, PhotoFacts, PhotoFile

AnySelect = TypeVar("AnySelect", bound="Select[*tuple[Any, ...]]")
AT_ONCE = 500  # values in one IN (...); SQLite allows 32,766, PostgreSQL plans small ones better


def in_pieces(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut values for IN (...) lists."""
    return (values[i : i + AT_ONCE] for i in range(0, len(values), AT_ONCE))


def now() -> datetime:
    """The present moment, UTC without a zone, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


# Roots


def locate(session: Session, folder: Path) -> RootLocation:
    """Return where a folder lies among the roots; its `id` is None if it lies below none."""
    folder = folder.resolve()
    for root, root_id in _roots(session).items():
        real = root.resolve()  # a root may have become a link since
        if folder.is_relative_to(real):
            below = path_to_text(folder.relative_to(real))
            return RootLocation(root_id, root, "" if below == "." else f"{below}/")
    return RootLocation(None, folder, "")


def register(session: Session, location: RootLocation) -> RootLocation:
    """Make a new folder a root, which takes in the roots below it."""
    if location.id is not None:
        return location
    below = _roots_below(session, location.path)
    row = Root(path=path_to_text(location.path))
    session.add(row)
    session.flush()
    for root_id, prefix in below.items():
        session.execute(
            update(Photo)
            .where(Photo.root_id == root_id)
            .values(root_id=row.id, path=prefix + Photo.path)
        )
        session.execute(delete(Root).where(Root.id == root_id))
    return RootLocation(row.id, location.path, "")


def _roots(session: Session) -> dict[Path, int]:
    return {text_to_path(row.path): row.id for row in session.scalars(select(Root))}


def _roots_below(session: Session, folder: Path) -> dict[int, str]:
    """Return the ids of the roots below a folder, with the prefix of their paths there."""
    return {
        root_id: path_to_text(root.relative_to(folder)) + "/"
        for root, root_id in _roots(session).items()
        if root.is_relative_to(folder)
    }


# Photos


def known(
    session: Session, location: RootLocation, encoding_id: int | None
) -> dict[str, KnownPhoto]:
    """Return the photos below a location, by path relative to its root."""
    if location.id is not None:
        return _known(session, location.id, location.prefix, encoding_id)
    return {
        prefix + path: photo
        for root_id, prefix in _roots_below(session, location.path).items()
        for path, photo in _known(session, root_id, "", encoding_id).items()
    }


def _known(
    session: Session, root_id: int, prefix: str, encoding_id: int | None
) -> dict[str, KnownPhoto]:
    has = exists().where(
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
            has,
        )
        .outerjoin(Content, Content.id == Photo.content_id)
        .where(Photo.root_id == root_id, below)
    )
    return {
        path: KnownPhoto(id_, size, mtime, sha.hex() if sha else None, state, error, vectors)
        for path, id_, size, mtime, sha, state, error, vectors in rows
    }


def stored_contents(session: Session, contents: Iterable[str], encoding_id: int) -> set[str]:
    """Return those of the contents (hex SHA-256) that have vectors under an encoding."""
    names = {id_: content for content, id_ in known_content_ids(session, [*contents]).items()}
    found: set[str] = set()
    for piece in in_pieces([*names]):
        rows = session.scalars(
            select(VectorRow.content_id).where(
                VectorRow.encoding_id == encoding_id, VectorRow.content_id.in_(piece)
            )
        )
        found.update(names[id_] for id_ in rows)
    return found


def content_ids(session: Session, contents: Iterable[str]) -> dict[str, int]:
    """Return the id of every content, adding those that are new: their ids rise in their order."""
    wanted = list(dict.fromkeys(contents))
    ids = known_content_ids(session, wanted)
    new = [Content(sha256=bytes.fromhex(content)) for content in wanted if content not in ids]
    session.add_all(new)
    session.flush()
    return ids | {content.sha256.hex(): content.id for content in new}


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
        location: the root, and the part of its paths below.
        photos: those that can be found from now on.
        failed: those that cannot.
        ids: the id of every content named in them.

    Returns:
        The contents that the photos had or have now.
    """
    touched: set[int | None] = set()
    files = [photo.file for photo in photos] + [failure.file for failure in failed]
    rows = _rows_by_path(session, location, [file.path for file in files])
    for photo in photos:
        row = rows.get(photo.file.path)
        if row is None and photo.renames is not None:
            row = session.get(Photo, photo.renames)
        row = _put(session, row, location, photo.file)
        touched |= {row.content_id, ids[photo.content]}
        _give_content(session, row, ids[photo.content])
        row.state, row.error = "indexed", None
        for name in PhotoFacts.__dataclass_fields__:
            setattr(row, name, getattr(photo.facts, name))
    for failure in failed:
        row = _put(session, rows.get(failure.file.path), location, failure.file)
        touched.add(row.content_id)
        if failure.content:  # else nobody knows that its bytes are others than before
            _give_content(session, row, ids[failure.content])
        row.state, row.error = "failed", failure.reason
    session.flush()
    return {content for content in touched if content is not None}


def _give_content(session: Session, row: Photo, content_id: int) -> None:
    """Say what a photo's bytes are; automatic tags of other ones told of other pixels, and go."""
    if row.content_id not in (None, content_id):
        stale = delete(TagRow).where(TagRow.photo_id == row.id, TagRow.source == "auto")
        session.execute(stale)
    row.content_id = content_id


def _rows_by_path(
    session: Session, location: RootLocation, paths: Sequence[str]
) -> dict[str, Photo]:
    found: dict[str, Photo] = {}
    for piece in in_pieces(paths):
        query = select(Photo).where(Photo.root_id == location.id, Photo.path.in_(piece))
        found.update((row.path, row) for row in session.scalars(query))
    return found


def _put(session: Session, row: Photo | None, location: RootLocation, file: PhotoFile) -> Photo:
    if row is None:
        row = Photo()
        session.add(row)
    assert location.id is not None
    row.root_id, row.path = location.id, file.path
    row.size, row.mtime_ns = file.size, file.mtime_ns
    return row


def mark_missing(session: Session, photo_ids: Sequence[int]) -> None:
    """Remember that files were not found; nothing of them is erased."""
    for piece in in_pieces(photo_ids):
        session.execute(update(Photo).where(Photo.id.in_(piece)).values(state="missing"))


def touch(session: Session, photo_id: int, file: PhotoFile) -> None:
    """Record the size and time of a file whose bytes did not change; it is there (again)."""
    session.execute(
        update(Photo)
        .where(Photo.id == photo_id)
        .values(size=file.size, mtime_ns=file.mtime_ns, state="indexed", error=None)
    )


def filtered(query: AnySelect, filters: Filters) -> AnySelect:
    """Add the conditions of `filters` to a query over photo and root."""
    if filters.path is not None:
        whole = Root.path + "/" + Photo.path
        pattern = like_pattern(filters.path)
        query = query.where(
            Photo.path.ilike(pattern, escape="\\") | whole.ilike(pattern, escape="\\")
        )
    if filters.after is not None:
        query = query.where(Photo.taken_at >= filters.after)
    if filters.before is not None:
        query = query.where(Photo.taken_at < filters.before)
    if filters.camera is not None:
        query = query.where(Photo.camera.ilike(f"%{_escape(filters.camera)}%", escape="\\"))
    if filters.min_width is not None:
        query = query.where(Photo.width >= filters.min_width)
    if filters.min_height is not None:
        query = query.where(Photo.height >= filters.min_height)
    if filters.tag is not None:
        tagged = (
            select(TagRow.photo_id)
            .join(LabelRow, LabelRow.id == TagRow.label_id)
            .where(LabelRow.name == filters.tag, TagRow.superseded_by.is_(None))
        )
        query = query.where(Photo.id.in_(tagged))
    return query


def like_pattern(glob: str) -> str:
    """Turn `*` and `?` of a path pattern into LIKE's; without either it is any part of a path."""
    escaped = _escape(path_to_text(Path(glob)) if glob not in ("", ".") else glob)
    if "*" not in glob and "?" not in glob:
        return f"%{escaped}%"
    return escaped.replace("*", "%").replace("?", "_")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


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
    with session.execute(query.execution_options(yield_per=1000)) as rows:
        for photo, root, sha in rows:
            yield _record_of(photo, text_to_path(root), sha)


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


BEHIND_CONTENTS = (  # plain rows, put together once: this stands in the way of every search
    select(*Photo.__table__.c, Root.__table__.c.path.label("root"), Content.__table__.c.sha256)
    .join_from(Photo.__table__, Root.__table__)
    .join(Content.__table__, Content.id == Photo.content_id)
    .where(Photo.content_id.in_(bindparam("contents", expanding=True)), Photo.state == "indexed")
    .order_by(Photo.id)
)


def photos_of_contents(
    session: Session, content_ids: Sequence[int], filters: Filters
) -> dict[int, list[PhotoRecord]]:
    """Return the indexed photos behind some contents, by content id, oldest row first."""
    found: dict[int, list[PhotoRecord]] = {}
    for piece in in_pieces(content_ids):
        query = filtered(BEHIND_CONTENTS, filters)
        for row in session.connection().execute(query, {"contents": piece}):
            record_ = _record_of(row, text_to_path(row.root), row.sha256)
            found.setdefault(row.content_id, []).append(record_)
    return found


def matching_contents(session: Session, filters: Filters) -> list[int]:
    """Return the contents of indexed photos that meet the filters."""
    query = (
        select(Photo.content_id)
        .join(Root, Root.id == Photo.root_id)
        .where(Photo.state == "indexed", Photo.content_id.is_not(None))
        .distinct()
    )
    return list(session.scalars(filtered(query, filters)))


def contents_of(session: Session, photo_ids: Sequence[int]) -> set[int]:
    """Return the contents of photos, whatever state they are in."""
    found: set[int | None] = set()
    for piece in in_pieces(photo_ids):
        found.update(session.scalars(select(Photo.content_id).where(Photo.id.in_(piece))))
    return {content for content in found if content is not None}


def find_photo(session: Session, path: Path) -> PhotoRecord | None:
    """Return the photo at an absolute path, if it is known."""
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


def known_content_ids(session: Session, contents: Sequence[str]) -> dict[str, int]:
    """Return the ids of those contents (hex SHA-256) that the library knows."""
    found: dict[str, int] = {}
    for piece in in_pieces([bytes.fromhex(content) for content in contents]):
        rows = session.execute(select(Content.sha256, Content.id).where(Content.sha256.in_(piece)))
        found.update((sha.hex(), id_) for sha, id_ in rows)
    return found


def photo_ids_of(session: Session, content_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return the ids of the indexed photos behind some contents, by content id."""
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


def count_indexed(session: Session) -> int:
    """Count the photos that can be found."""
    query = select(func.count()).select_from(Photo).where(Photo.state == "indexed")
    return session.scalar(query) or 0


def roots(session: Session) -> list[tuple[int, Path, int]]:
    """Return (id, folder, photos recorded below it) of every root."""
    rows = session.execute(
        select(Root.id, Root.path, func.count(Photo.id))
        .outerjoin(Photo, Photo.root_id == Root.id)
        .group_by(Root.id, Root.path)
        .order_by(Root.path)
    )
    return [(id_, text_to_path(path), number) for id_, path, number in rows]


def move_root(session: Session, old: Path, new: Path) -> int:
    """Give a root another folder; return how many photos are below it. Raises QueryError."""
    known_roots = {path: (id_, number) for id_, path, number in roots(session)}
    if old not in known_roots:
        names = ", ".join(map(str, known_roots)) or "none yet"
        raise QueryError(f"{old} is no folder of this library; its folders: {names}.")
    for path in known_roots:
        if path != old and (path == new or path.is_relative_to(new) or new.is_relative_to(path)):
            raise QueryError(f"{new} overlaps {path}, another folder of this library.")
    id_, number = known_roots[old]
    session.execute(update(Root).where(Root.id == id_).values(path=path_to_text(new)))
    return number
