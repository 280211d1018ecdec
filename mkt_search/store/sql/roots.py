"""Queries about roots: the registered folders, to which paths of photos are relative."""

from collections import Counter
from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, aliased

from mkt_search.errors import QueryError
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.store.records import RootLocation
from mkt_search.store.sql import changes
from mkt_search.store.sql.schema import Photo, Root


def with_counts(session: Session) -> list[tuple[int, Path, int]]:
    """Return (id, folder, photos below it) of every root, in the order of the folders."""
    rows = session.execute(
        select(Root.id, Root.path, func.count(Photo.id))
        .outerjoin(Photo, (Photo.root_id == Root.id) & (Photo.replaced == 0))
        .group_by(Root.id, Root.path)
        .order_by(Root.path)
    )
    return [(id_, text_to_path(path), photos) for id_, path, photos in rows]


def folders(session: Session) -> list[Path]:
    """Return the folders, in their order."""
    return [text_to_path(path) for path in session.scalars(select(Root.path).order_by(Root.path))]


def locate(session: Session, folder: Path) -> RootLocation:
    """Return where a folder lies among the roots; its `id` is None if it lies below none."""
    folder = folder.resolve()
    for root, root_id in _ids_by_folder(session).items():
        real = root.resolve()  # a root may have become a link since it was registered
        if folder.is_relative_to(real):
            below = path_to_text(folder.relative_to(real))
            return RootLocation(root_id, root, "" if below == "." else f"{below}/")
    return RootLocation(None, folder, "")


def register(session: Session, location: RootLocation) -> RootLocation:
    """Make a folder a root, unless it lies below one; roots below it become part of it."""
    if location.id is not None:
        return location
    below = roots_below(session, location.path)
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


def roots_below(session: Session, folder: Path) -> dict[int, str]:
    """Return the ids of roots inside a folder, and the prefix that their paths have there."""
    return {
        root_id: path_to_text(root.relative_to(folder)) + "/"
        for root, root_id in _ids_by_folder(session).items()
        if root.is_relative_to(folder)
    }


def move(session: Session, old: Path, new: Path) -> int:
    """Give a root another folder; return how many photos are below it.

    If the new folder lies in a root already, because it was indexed before anybody said that the
    old one has moved, the photos become photos of that root.

    Raises:
        QueryError: `old` is no root, or another root lies in `new`.
    """
    known = {path: (id_, photos) for id_, path, photos in with_counts(session)}
    if old not in known:
        names = ", ".join(map(str, known)) or "none yet"
        raise QueryError(f"{old} is not a folder of this library; its folders: {names}.")
    id_, photos = known.pop(old)
    for path, (other, _) in known.items():
        if new.is_relative_to(path):
            below = path_to_text(new.relative_to(path))
            _merge(session, id_, other, "" if below == "." else f"{below}/")
            return photos
        if path.is_relative_to(new):
            raise QueryError(f"{new} overlaps {path}, another folder of this library.")
    session.execute(update(Root).where(Root.id == id_).values(path=path_to_text(new)))
    return photos


def _merge(session: Session, old: int, new: int, prefix: str) -> None:
    """Move the photos of a root into another one, where some of them may be recorded already."""
    rows = session.scalars(select(Photo).where(Photo.root_id == new, Photo.replaced == 0))
    twins = {row.path: row for row in rows if row.path.startswith(prefix)}
    changed: set[int | None] = set()
    for row in session.scalars(select(Photo).where(Photo.root_id == old)).all():
        path = prefix + row.path
        twin = twins.get(path) if not row.replaced else None
        if twin is not None and twin.content_id == row.content_id:
            if row.state != twin.state:
                changed.add(row.content_id)
            row.size, row.mtime_ns = twin.size, twin.mtime_ns
            row.state, row.error = twin.state, twin.error
            session.delete(twin)  # it is younger, and may lack tags of runs
            session.flush()
        elif twin is not None:
            changed.add(row.content_id)
            row.state, row.error, row.replaced = "missing", None, row.id
        row.root_id, row.path = new, path
    session.flush()
    session.execute(delete(Root).where(Root.id == old))
    changes.record_change(session, {id_ for id_ in changed if id_ is not None})


def moved_to(session: Session, root: Path) -> tuple[Path, int] | None:
    """Return the folder that holds most photos of a root under their paths, and how many.

    None unless some folder holds at least half of them.
    """
    id_ = session.scalar(select(Root.id).where(Root.path == path_to_text(root)))
    there = aliased(Photo)
    rows = session.execute(
        select(Photo.path, Root.path, there.path)
        .join(there, there.content_id == Photo.content_id)
        .join(Root, Root.id == there.root_id)
        .where(
            *(Photo.root_id == id_, Photo.state == "indexed"),
            *(there.root_id != id_, there.state == "indexed"),
        )
    )
    found: Counter[Path] = Counter()
    for path, other, now in rows:
        if now == path or now.endswith(f"/{path}"):
            found[text_to_path(other) / text_to_path(now[: len(now) - len(path)])] += 1
    indexed = select(func.count()).where(Photo.root_id == id_, Photo.state == "indexed")
    total = session.scalar(indexed) or 0
    for folder, photos in found.most_common(1):
        if 2 * photos >= total:
            return folder, photos
    return None


def _ids_by_folder(session: Session) -> dict[Path, int]:
    return {text_to_path(path): id_ for path, id_ in session.execute(select(Root.path, Root.id))}
