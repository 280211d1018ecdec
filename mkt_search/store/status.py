"""The state of a library in numbers, as `mkt status` shows it."""

from dataclasses import dataclass
from pathlib import Path

from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import DATABASE, Store
from mkt_search.types import Encoding


@dataclass(frozen=True)
class RootStatus:
    """A registered folder, whether it exists now, and how many photos are recorded below it."""

    id: int
    path: Path
    exists: bool
    photos: int


@dataclass(frozen=True)
class CandidateIndexStatus:
    """The candidate index: how many different photos it has, and its bytes on disk."""

    photos: int
    bytes: int


@dataclass(frozen=True)
class Status:
    """The state of a library in numbers; sizes in bytes.

    `photos` is by state, `tags` by source; `duplicates` counts files with the bytes of another one.
    `retired` names what this version can no longer read of the vectors; "" for nothing. `building`
    is how many photos a rebuild has encoded, and how many it must; None if there is no rebuild.
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
    counts = store.catalog.counts()
    files = store.directory.glob(f"{DATABASE}*")
    return Status(
        directory=store.directory,
        photos=counts.photos,
        duplicates=counts.duplicates,
        encoding=active.encoding if active else None,
        retired=active.retired if active else "",
        model=active.model if active else None,
        building=_progress(store, building) if building else None,
        segments=counts.segments,
        bytes_segments=counts.bytes_segments,
        bytes_database=counts.bytes_tables or sum(file.stat().st_size for file in files),
        candidate_index=_candidate_index(store, active) if active else None,
        roots=[RootStatus(id_, path, path.is_dir(), number) for id_, path, number in counts.roots],
        tags=counts.tags,
        writer=store.writer(),
    )


def _progress(store: Store, building: StoredEncoding) -> tuple[int, int]:
    total = store.catalog.count_indexed()
    return total - store.catalog.count_unencoded(building.id), total


def _candidate_index(store: Store, active: StoredEncoding) -> CandidateIndexStatus | None:
    index = store.candidate_index(active)
    return None if index is None else CandidateIndexStatus(index.photos, index.size)
