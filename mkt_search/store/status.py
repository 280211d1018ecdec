"""The state of a library in numbers, as `mkt status` shows it."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mkt_search.store import lock
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import encodings, photos, tags
from mkt_search.store.sql.database import reading, size_of_tables
from mkt_search.store.sql.schema import Photo, SegmentRow
from mkt_search.store.store import Store
from mkt_search.types import Encoding


@dataclass(frozen=True)
class RootStatus:
    """A registered folder, whether it is there now, and how many photos are recorded below it."""

    id: int
    path: Path
    exists: bool
    photos: int


@dataclass(frozen=True)
class CandidateIndexStatus:
    """The candidate index: how many different photos it knows, and its bytes on disk."""

    photos: int
    bytes: int


@dataclass(frozen=True)
class Status:
    """The state of a library in numbers; sizes in bytes.

    `photos` is by state, `tags` by source; `duplicates` are files with the bytes of another one.
    `retired` names what this version can no longer read of the vectors, "" for nothing.
    `building` says of how many photos a rebuild has new vectors, and of how many it needs them.
    """

    directory: Path
    photos: dict[str, int]
    duplicates: int
    encoding: Encoding | None
    retired: str
    model: str | None
    building: tuple[int, int] | None
    segments: int
    bytes_segments: int
    bytes_database: int
    candidate_index: CandidateIndexStatus | None
    roots: list[RootStatus]
    tags: dict[str, int]
    writer: str | None


def status(store: Store) -> Status:
    """Return the state of a library."""
    active, building = store.active, store.building
    with reading(store.engine) as session:
        by_state, duplicates = _photos(session)
        segments, size = session.execute(
            select(func.count(SegmentRow.id), func.coalesce(func.sum(SegmentRow.size), 0))
        ).one()
        return Status(
            directory=store.directory,
            photos=by_state,
            duplicates=duplicates,
            encoding=active.encoding if active else None,
            retired=active.retired if active else "",
            model=active.model if active else None,
            building=_progress(session, building.id) if building else None,
            segments=segments,
            bytes_segments=int(size),
            bytes_database=size_of_tables(session)
            or sum(file.stat().st_size for file in store.directory.glob("mkt.db*")),
            candidate_index=_candidate_index(session, active.id) if active else None,
            roots=[
                RootStatus(id_, path, path.is_dir(), number)
                for id_, path, number in photos.roots(session)
            ],
            tags=tags.count_by_source(session),
            writer=lock.writer(store.directory),
        )


def _photos(session: Session) -> tuple[dict[str, int], int]:
    """Count photos by state, and those that can be found but have the bytes of another one."""
    states = session.execute(select(Photo.state, func.count()).group_by(Photo.state))
    indexed = select(func.count(Photo.id), func.count(Photo.content_id.distinct()))
    total, distinct = session.execute(indexed.where(Photo.state == "indexed")).one()
    return {state: number for state, number in states}, total - distinct


def _progress(session: Session, building: int) -> tuple[int, int]:
    total = photos.count_indexed(session)
    return total - encodings.unencoded(session, building), total


def _candidate_index(session: Session, active: int) -> CandidateIndexStatus | None:
    generation = generations.find(session, active)
    if generation is None:
        return None
    return CandidateIndexStatus(generation.photos, generation.sketch.size + generation.places.size)
