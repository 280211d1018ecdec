"""Queries about roots: the registered folders, to which paths of photos are relative."""

from pathlib import Path

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.store.records import RootLocation
from mkt_search.store.sql.schema import Photo, Root


def with_counts(session: Session) -> list[tuple[int, Path, int]]:
    """Return (id, folder, photos below it) of every root, in the order of the folders."""
    rows = session.execute(
        select(Root.id, Root.path, func.count(Photo.id))
        .outerjoin(Photo, Photo.root_id == Root.id)
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
    """Give a root another folder; return how many photos are below it. Raises QueryError."""
    known = {path: (id_, photos) for id_, path, photos in with_counts(session)}
    if old not in known:
        names = ", ".join(map(str, known)) or "none yet"
        raise QueryError(f"{old} is not a folder of this library; its folders: {names}.")
    for path in known:
        if path != old and (path == new or path.is_relative_to(new) or new.is_relative_to(path)):
            raise QueryError(f"{new} overlaps {path}, another folder of this library.")
    id_, photos = known[old]
    session.execute(update(Root).where(Root.id == id_).values(path=path_to_text(new)))
    return photos


def _ids_by_folder(session: Session) -> dict[Path, int]:
    return {text_to_path(path): id_ for path, id_ in session.execute(select(Root.path, Root.id))}
