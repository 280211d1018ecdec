"""The seam of the store: what search, tagging and evaluation may ask of stored vectors.

A `Snapshot` is an immutable view of the vectors at one time; a `VectorStore` adds vectors, removes
them and gives snapshots. Photos are named by content ids alone: how vectors are laid out, and how
candidates are found, is up to an implementation. `LocalVectorStore` (segment files and FAISS) is
one; a server such as Milvus would be another.

Scores are not part of the seam: `scoring` computes them from similarities, the same everywhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.manifest import StoredEncoding, StoredFile
from mkt_search.store.recall_curve import QueryKind, RecallCurve
from mkt_search.types import Encoding, PhotoVectors, Vector

ContentIds = NDArray[np.int64]
"""Ids of contents (the bytes of photo files), one dimension."""


class WeightedQuery(NamedTuple):
    """Label vectors (T, D) and weights (T,): a photo's score is the weighted sum over the labels.

    A negative weight marks an unwanted label.
    """

    labels: Vector
    weights: Vector

    @property
    def terms(self) -> int:
        """T, the number of labels."""
        return len(self.weights)

    @property
    def kind(self) -> QueryKind:
        """The kind whose measured recall applies to the query."""
        if self.terms == 1:
            return "single"
        return "negated" if (self.weights < 0).any() else "multi"

    @property
    def is_mostly_wanted(self) -> bool:
        """Whether some label is wanted and the wanted weights outweigh the unwanted ones."""
        return bool((self.weights > 0).any() and self.weights.sum() >= 0)

    @property
    def directions(self) -> Vector:
        """The vectors (d, D) near which candidates lie.

        For one label that label; for several every wanted label, and the weighted sum of all.
        """
        if self.terms == 1:
            return self.labels
        total = self.weights @ self.labels  # (D,)
        return np.concatenate([self.labels[self.weights > 0], total[None]])


@dataclass(frozen=True)
class CandidateIndexFacts:
    """What a plan needs to know of a candidate index.

    `photos` are in it, some of which may be gone; `newer` live photos are not. A shortlist for one
    label has up to `shortlist_per_k` times k photos.
    """

    photos: int
    newer: int
    shortlist_per_k: int
    recall: RecallCurve


@dataclass(frozen=True)
class SnapshotFacts:
    """What a plan needs to know of a snapshot.

    `photos` counts live content ids; `photos_scored`, roughly, those whose similarities were
    computed so far, repeats counted. The exact scan would first read in `photos_to_scan` photos;
    `scan_threads` work on it.
    """

    stored: StoredEncoding
    revision: int
    photos: int
    photos_scored: int = 0
    photos_to_scan: int = 0
    scan_threads: int = 1

    @property
    def encoding(self) -> Encoding:
        """The encoding of the vectors."""
        return self.stored.encoding

    @property
    def scan_is_built(self) -> bool:
        """Whether an exact scan can start at once."""
        return not self.photos_to_scan


class Shortlist(NamedTuple):
    """Photos worth scoring exactly: those the candidate index found, and those it does not have."""

    candidates: ContentIds
    newer: ContentIds


class BoundedCandidates(NamedTuple):
    """Photos with bounds on their scores, most promising first.

    No photo scores above its entry in `upper` (n,), and none left out scores above `bound` (-inf:
    none is left out).
    """

    content_ids: ContentIds
    upper: Vector
    bound: float


class StoredVectors(NamedTuple):
    """Decoded vectors (n, 1 + m, D), the global one first, and patch counts (n, m), 0 for padding.

    A count says how many patches the local vector stands for.
    """

    vectors: Vector
    counts: NDArray[np.int64]


class Similarities(NamedTuple):
    """Inner products with L labels, (n, 1 + m, L), and patch counts (n, m), 0 for padding."""

    products: Vector
    counts: NDArray[np.int64]


class Snapshot(Protocol):
    """An immutable view of the vectors of one encoding; threads may share it.

    Methods that take content ids raise LookupError for an id that is not live, except where the
    argument is a filter.
    """

    @property
    def facts(self) -> SnapshotFacts:
        """Facts that cost nothing to know."""

    @property
    def candidate_index(self) -> CandidateIndexFacts | None:
        """Facts of the candidate index, loaded when first read; None if there is no usable one."""

    def content_ids(self, among: ContentIds | None = None) -> ContentIds:
        """Return live content ids, each once, in the order in which reading them is fastest.

        Args:
            among: a filter: return only ids in it. Ids that are not live are ignored.
        """

    def candidates(
        self, query: WeightedQuery, *, k: int, probes: int, allowed: ContentIds | None = None
    ) -> Shortlist:
        """Return the photos to score for the k best, without repeats.

        Args:
            query: for which `is_mostly_wanted` holds.
            k: photos wanted, at a depth at which recall was measured.
            probes: vectors to ask the candidate index for, for each direction of the query.
            allowed: live ids to choose from; None allows all.
        """

    def scan(
        self, label: Vector, *, vectors: int, allowed: ContentIds | None = None
    ) -> BoundedCandidates:
        """Return the photos that own about the best `vectors` vectors g + l for a label (D,).

        Args:
            label: one label vector.
            vectors: how many of the best vectors count.
            allowed: live ids to choose from; None allows all.
        """

    def similarities(self, content_ids: ContentIds, labels: Vector) -> Similarities:
        """Return the inner products of stored vectors with labels (L, D)."""

    def vectors(self, content_ids: ContentIds) -> StoredVectors:
        """Return decoded vectors.

        Raises:
            LibraryDamaged: they are not those that were stored for these photos.
        """

    def global_vectors(self, content_ids: ContentIds) -> Vector:
        """Return decoded global vectors (n, D), not checked."""

    def checked_contents(self, content_ids: ContentIds) -> NDArray[np.uint8]:
        """Check what is stored of photos; return (n, 32), the SHA-256 of the bytes it is of.

        `similarities`, `global_vectors` and `member_patches` do not check, because a search reads
        far more photos than it shows.

        Raises:
            LibraryDamaged: what is stored has changed since it was written.
        """

    def member_patches(self, content_ids: ContentIds) -> NDArray[np.bool_]:
        """Return (n, m, P): the patches that each local vector is the mean of.

        If one of the photos has V > 1 views, the result is (n, m, V P), one view after the other.
        """

    def release_pages(self) -> None:
        """Give back memory that holds vectors read so far; reading them again stays possible."""


class VectorStore(Protocol):
    """Where the vectors of one encoding are kept.

    The catalog decides what counts: vectors that were added become part of snapshots when a
    transaction of the catalog names their segment, and are garbage until then.
    """

    @property
    def stored(self) -> StoredEncoding:
        """The encoding."""

    def add(self, vectors: PhotoVectors, contents: Sequence[str]) -> StoredFile:
        """Store n photos' vectors durably; return their segment for the catalog to name.

        Args:
            vectors: of n photos.
            contents: the SHA-256 of each, in hex.

        Raises:
            StoreError: the disk is full or cannot be written.
        """

    def remove(self, segments: Iterable[str]) -> None:
        """Delete segments that the catalog no longer names; unknown ones are ignored."""

    def snapshot(self) -> Snapshot:
        """Return a view of the vectors as they are now.

        Raises:
            LibraryDamaged: vectors are missing or damaged, or a rebuild replaced the encoding.
        """
