"""What the catalog says of stored vectors: encodings, segments, candidate indexes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import CheckpointMismatch
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.types import Encoding, ModelRecord

PQ_SUFFIX, ROW_MAP_SUFFIX = ".pq", ".rows"  # ends of file names of a candidate index
PQ_SUFFIXES = (PQ_SUFFIX, ".sketch")  # earlier versions wrote .sketch, and .places for .rows


class StoredFile(NamedTuple):
    """A file that is whole on disk: its name in its folder, its size in bytes, its digest."""

    name: str
    size: int
    sha256: bytes


@dataclass(frozen=True)
class StoredEncoding:
    """An encoding of the library.

    `model` is the name of the model that made the vectors, and `record` describes it as it was when
    it was last opened, if that was recorded. `state` is active (searched) or building (a rebuild is
    filling it). `retired` names what this version can no longer read of the vectors; "" for one in
    use.
    """

    id: int
    encoding: Encoding
    model: str
    state: str
    retired: str = ""
    record: ModelRecord | None = None

    def is_of(self, encoding: Encoding) -> bool:
        """Return True if these vectors can be compared with new ones of `encoding`."""
        return not self.retired and self.encoding == encoding

    def check_in_use(self) -> None:
        """Raise CheckpointMismatch if this version cannot read the vectors."""
        if self.retired:
            raise CheckpointMismatch(
                f"This library stores its vectors in a form that is no longer read "
                f"({self.retired}): run `mkt index --rebuild` to encode every photo again; all "
                "tags stay."
            )


@dataclass(frozen=True)
class SegmentRecord:
    """A segment that the catalog names. `photos` counts its rows, used or not."""

    id: int
    file: StoredFile
    photos: int


@dataclass(frozen=True)
class CandidateIndex:
    """The candidate index of an encoding: two files in the library's `index` folder.

    `pq` is the PQ index and `row_map` lists the vector rows, both as they were at `revision` with
    `photos` contents. `recall` was measured when the index was built.
    """

    pq: StoredFile
    row_map: StoredFile
    photos: int
    revision: int
    recall: RecallCurve

    @property
    def size(self) -> int:
        """Bytes of both files."""
        return self.pq.size + self.row_map.size


@dataclass(frozen=True)
class Manifest:
    """The vectors of an encoding at one revision of the library.

    `files` has the file name of every segment by segment id. `live` (n, 3) has the segment id, row
    and content id of every vector whose content has an indexed photo. If only changes were asked
    for, `changed` has the content ids that changed, and `live` only rows of these.
    """

    revision: int
    files: dict[int, str]
    live: NDArray[np.int64]
    candidate_index: CandidateIndex | None
    changed: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class FileNames:
    """Names of files in the two folders of a library, `segments` and `index`."""

    segments: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
