"""Records that the catalog takes and returns: plain data, without SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.paths import text_to_path
from mkt_search.types import Hit, PhotoFacts, PhotoFile, PhotoVectors


@dataclass(frozen=True)
class RootLocation:
    """A folder as a root and the part of its paths below; `id` is None until it is registered."""

    id: int | None
    path: Path
    prefix: str


@dataclass(frozen=True)
class NewPhoto:
    """A photo to be recorded.

    `row` is its row among the batch's vectors, None when its bytes are stored already or occur
    earlier in the batch; `renames` is the id of the missing photo that it was before. `is_edit` is
    True if the bytes that its path had before are the same picture. `miniature` is that of the
    content, None if the library has it.
    """

    file: PhotoFile
    content: str
    facts: PhotoFacts
    row: int | None = None
    renames: int | None = None
    is_edit: bool = False
    miniature: bytes | None = None


class ShownContents(NamedTuple):
    """Contents that a search can find, by rising id of their oldest indexed photo.

    `content_ids` and `photo_ids` (n,) int64; `keys` (n,) uint64, the first eight bytes of the
    SHA-256, big-endian.
    """

    content_ids: NDArray[np.int64]
    photo_ids: NDArray[np.int64]
    keys: NDArray[np.uint64]


@dataclass(frozen=True)
class FailedPhoto:
    """A file that could not be read, and why; `content` is known if its bytes could be read."""

    file: PhotoFile
    reason: str
    content: str | None = None


@dataclass(frozen=True)
class Batch:
    """What one commit adds: photos, files that failed, the vectors of new contents.

    Row i of `vectors` belongs to the photo whose `row` is i.
    """

    photos: Sequence[NewPhoto]
    failed: Sequence[FailedPhoto] = ()
    vectors: PhotoVectors | None = None

    @property
    def encoded(self) -> list[NewPhoto]:
        """The photos with vectors, in the order of their rows."""
        return sorted((p for p in self.photos if p.row is not None), key=lambda p: p.row or 0)


@dataclass(frozen=True)
class KnownPhoto:
    """The row of a path; `has_vectors` is for the encoding that was asked about.

    `lacks_miniature` is True if a person tagged the picture and there is no miniature of it.
    """

    id: int
    size: int
    mtime_ns: int
    content: str | None
    state: str
    error: str | None
    has_vectors: bool
    lacks_miniature: bool = False


@dataclass(frozen=True)
class Place:
    """A file that had some bytes when the library last saw it: its path, size and time."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class PhotoRecord:
    """A photo in the database. `state` is indexed, failed or missing."""

    id: int
    root: Path
    relative: str
    content: str | None
    state: str
    error: str | None
    size: int
    facts: PhotoFacts | None
    mtime_ns: int = 0

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return self.root / text_to_path(self.relative)


@dataclass(frozen=True)
class Copies:
    """What the library has of some contents (SHA-256 in hex).

    `encoded` have vectors, `miniatures` are there of those that have one; `facts` are those of a
    photo with these bytes; `missing` lists the missing photos with these bytes as (id, path),
    oldest first.
    """

    encoded: frozenset[str] = frozenset()
    facts: Mapping[str, PhotoFacts] = field(default_factory=dict)
    missing: Mapping[str, list[tuple[int, str]]] = field(default_factory=dict)
    miniatures: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class RunInfo:
    """A recorded run. Times are UTC.

    `outcome` is running, done, failed, interrupted or reverted.
    """

    id: int
    kind: str
    settings: dict[str, Any]
    summary: dict[str, Any]
    outcome: str
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class LabelCount:
    """How many photos have a label as a tag, by source; from `refused` a person removed it."""

    label: str
    auto: int = 0
    human: int = 0
    imported: int = 0
    refused: int = 0

    @property
    def photos(self) -> int:
        """How many photos have the tag."""
        return self.auto + self.human + self.imported


@dataclass(frozen=True)
class TagReport:
    """What a tag run did, or would do.

    `refused` tags were left out because a person had removed them from their photos. `by_label`
    counts the automatic tags of each label after the run; `run` is None if nothing was written.
    `rule` says in words how the tags were chosen. `examples` are photos of each label, if they were
    asked for.
    """

    run: int | None
    photos: int
    labels: int
    added: int
    removed: int
    kept: int
    refused: int = 0
    by_label: dict[str, int] = field(default_factory=dict)
    rule: str = ""
    examples: dict[str, list[Hit]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReviewQueue:
    """The tags of a label that a run proposes; counts of pictures, copies counted once.

    `undecided` pictures have the tag from the run alone; `accepted` and `rejected` were decided.
    """

    label: str
    run: int | None
    undecided: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass(frozen=True)
class Proposal:
    """A photo that a run gave a label, and that no person has decided yet.

    `content` is the SHA-256 of its bytes, in hex; `score` and `p` are as in `types.Tag`.
    """

    photo: int
    content: str
    run: int | None
    score: float
    p: float | None


Choice = Literal["accept", "reject"]


@dataclass(frozen=True)
class Decision:
    """What a person decided of a photo: that it shows a label (accept), or not.

    `content` is the SHA-256 of the bytes that the person saw, in hex; if it is given and the photo
    has others now, the decision does not count, because it is of another picture.
    """

    photo: int
    verdict: Choice
    content: str | None = None


@dataclass(frozen=True)
class DecisionBatch:
    """Decisions that were made together; `id` is what `undo_decision` takes.

    `decisions` are of one photo for each picture, those that the library can find now.
    """

    id: int
    label: str
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class PruneReport:
    """What pruning deleted, or would delete. `bytes` is the size of the `segments`.

    `kept` missing photos stay because a person tagged them.
    """

    kept: int = 0
    photos: int = 0
    tags: int = 0
    contents: int = 0
    segments: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What one model reached. `results` are its rows as the report has them; times are UTC."""

    model: str
    fingerprint: str
    dataset: str
    dataset_fingerprint: str
    protocol: str
    settings: dict[str, Any]
    results: dict[str, Any]
    created_at: datetime | None = None
    run: int | None = None
