"""The state of a library as JSON."""

from dataclasses import asdict

from typing_extensions import TypedDict

from mkt_search.display import path_as_text
from mkt_search.store.status import CandidateIndexStatus, RootStatus, Status
from mkt_search.types import Encoding


class EncodingData(TypedDict):
    """What decides a stored vector."""

    checkpoint: str
    dim: int
    grid: list[int]
    pooling: str
    m: int
    top_k: int
    precision: str
    dtype: str
    decoder: int
    patch_vectors: str


class CandidateIndexData(TypedDict):
    """The candidate index: how many different photos it has, and its bytes on disk."""

    photos: int
    bytes: int


class RootData(TypedDict):
    """A folder of the library, whether it exists now, and how many photos are recorded below it."""

    id: int
    path: str
    exists: bool
    photos: int


class StatusData(TypedDict):
    """The state of a library; sizes in bytes, `photos` by state, `tags` by source."""

    directory: str
    photos: dict[str, int]
    duplicates: int
    model: str | None
    encoding: EncodingData | None
    retired: str | None
    building: list[int] | None
    segments: int
    bytes_segments: int
    bytes_database: int
    candidate_index: CandidateIndexData | None
    roots: list[RootData]
    tags: dict[str, int]
    writer: str | None


def as_data(found: Status) -> StatusData:
    """Return the state of a library as JSON values."""
    return {
        "directory": path_as_text(found.directory),
        "photos": found.photos,
        "duplicates": found.duplicates,
        "model": found.model,
        "encoding": encoding_as_data(found.encoding) if found.encoding else None,
        "retired": found.retired or None,
        "building": list(found.building) if found.building else None,
        "segments": found.segments,
        "bytes_segments": found.bytes_segments,
        "bytes_database": found.bytes_database,
        "candidate_index": _candidate_index(found.candidate_index),
        "roots": [_root(root) for root in found.roots],
        "tags": found.tags,
        "writer": found.writer,
    }


def encoding_as_data(encoding: Encoding) -> EncodingData:
    """Return an encoding as JSON values."""
    data: EncodingData = {**asdict(encoding), "grid": list(encoding.grid)}  # type: ignore[typeddict-item]
    return data


def _candidate_index(index: CandidateIndexStatus | None) -> CandidateIndexData | None:
    return None if index is None else {"photos": index.photos, "bytes": index.bytes}


def _root(root: RootStatus) -> RootData:
    return {
        "id": root.id,
        "path": path_as_text(root.path),
        "exists": root.exists,
        "photos": root.photos,
    }
