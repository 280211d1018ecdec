"""`LocalSnapshot`: the vectors of a library at one time, read from segment files and FAISS.

Inside, photos are rows: those of the first open segment, then those of the next, and so on. Rows
keep their numbers while the library grows; a row whose photos are gone stays, but is not live.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann.exact_scan import Scan
from mkt_search.store.ann.index_files import load_pq_index, load_row_map
from mkt_search.store.ann.pq_index import OwnedVectors, PQIndex
from mkt_search.store.candidates.shortlist import SHORTLIST_PER_K, shortlist
from mkt_search.store.interfaces import (
    BoundedCandidates,
    CandidateIndexFacts,
    ContentIds,
    Shortlist,
    Similarities,
    SnapshotFacts,
    StoredVectors,
    WeightedQuery,
)
from mkt_search.store.local_vectors import LocalFiles
from mkt_search.store.manifest import CandidateIndex, Manifest, StoredEncoding
from mkt_search.store.segments.reader import Rows, SegmentReader
from mkt_search.store.segments.segment import Segment, open_segments
from mkt_search.types import Encoding, Vector

log = logging.getLogger(__name__)

UNKNOWN_SEGMENT = "The database names a segment it does not have. Run `mkt repair`."


@dataclass(frozen=True)
class RenewPolicy:
    """When a renewed snapshot starts afresh instead of extending what is there.

    max_stale_share: of rows in segments that are no longer named; beyond it, segments are reopened.
    max_scan_blocks: the exact scan grows by blocks; one of so many is built again as one.
    """

    max_stale_share: float = 0.25
    max_scan_blocks: int = 16


DEFAULT = RenewPolicy()


class LocalSnapshot:
    """An immutable view of the vectors of one encoding; threads may share it.

    What is slow to make is made when first needed (the scan, the PQ index in memory), and shared
    with the snapshot that `renewed` returns.
    """

    def __init__(
        self,
        store: LocalFiles,
        stored: StoredEncoding,
        manifest: Manifest,
        segments: Sequence[Segment],
        numbers: dict[int, int],
        *,
        before: "LocalSnapshot | None" = None,
        policy: RenewPolicy = DEFAULT,
    ) -> None:
        """Use `open` or `renewed` instead.

        Args:
            store: the library.
            stored: the encoding.
            manifest: its segments and live vectors.
            segments: the open ones; those that are no longer named keep their rows.
            numbers: segment id -> position among `segments`.
            before: the snapshot to start from, if the manifest holds only changes since then.
            policy: of `renewed`.
        """
        self.store = store
        self.stored = stored
        self.revision = manifest.revision
        self.stored_index: CandidateIndex | None = manifest.candidate_index
        self.files = manifest.files
        self.reader = SegmentReader(segments, stored.encoding)
        self._numbers = numbers
        self._policy = policy
        self._is_live = np.zeros(len(self.reader), np.bool_)  # (rows,)
        self._id_of_row = np.full(len(self.reader), -1, np.int64)  # (rows,), -1 if not live
        self._scanning, self._loading = Lock(), Lock()
        self._scan = Scan(stored.encoding.dim)
        self._pq_index: PQIndex | None = None
        self._is_loaded = manifest.candidate_index is None
        self._photos_scored = 0
        if before is not None:
            self._start_from(before, manifest)
        rows = self._rows_at(manifest.live)
        self._is_live[rows] = True
        self._id_of_row[rows] = manifest.live[:, 2]
        self._check_segments(0 if before is None else len(before.reader.segments))

    def _start_from(self, before: "LocalSnapshot", manifest: Manifest) -> None:
        assert manifest.changed is not None
        known = len(before.reader)
        self._is_live[:known] = before._is_live
        self._id_of_row[:known] = before._id_of_row
        changed = before._row_of(manifest.changed)
        changed = changed[changed >= 0]
        self._is_live[changed] = False
        self._id_of_row[changed] = -1
        self._scan = before._scan  # no lock: a scan being built there is built here again
        self._photos_scored = before._photos_scored
        if before.stored_index == self.stored_index and before._is_loaded:
            self._pq_index, self._is_loaded = before._pq_index, True

    def _rows_at(self, vector_rows: NDArray[np.int64]) -> Rows:
        """Return the rows of vectors given by (n, 3) segment id, row in it, content id."""
        if not len(vector_rows):
            return np.empty(0, np.int64)
        if not self._numbers:
            raise LibraryDamaged(UNKNOWN_SEGMENT)
        ids = np.array(sorted(self._numbers), np.int64)
        number_of = np.array([self._numbers[id_] for id_ in ids.tolist()], np.int64)
        at = np.minimum(np.searchsorted(ids, vector_rows[:, 0]), len(ids) - 1)
        if (vector_rows[:, 0] != ids[at]).any():
            raise LibraryDamaged(UNKNOWN_SEGMENT)
        numbers, starts = number_of[at], self.reader.starts
        rows: Rows = starts[numbers] + vector_rows[:, 1]
        if ((rows < starts[numbers]) | (rows >= starts[numbers + 1])).any():
            raise LibraryDamaged(
                "A segment has fewer rows than the database says. Run `mkt verify`."
            )
        return rows

    @classmethod
    def open(
        cls,
        store: LocalFiles,
        stored: StoredEncoding,
        *,
        by_rows: bool = False,
        policy: RenewPolicy = DEFAULT,
    ) -> "LocalSnapshot":
        """Open an encoding's vectors as they are now.

        Args:
            store: the library.
            stored: the encoding.
            by_rows: read every vector row from the database instead of the row map file.
            policy: of `renewed`.

        Raises:
            LibraryDamaged: a segment is missing or damaged.
        """
        manifest = store.manifest(stored.id) if by_rows else _whole_manifest(store, stored)
        paths = [store.folder / file for file in manifest.files.values()]
        segments = open_segments(paths, stored.encoding)
        numbers = {id_: number for number, id_ in enumerate(manifest.files)}
        return cls(store, stored, manifest, segments, numbers, policy=policy)

    def renewed(self) -> "LocalSnapshot":
        """Return a snapshot of now, this one if nothing has changed. Raises LibraryDamaged."""
        if self.store.revision() == self.revision:
            return self
        manifest = self.store.manifest(self.stored.id, since=self.revision)
        if manifest.changed is None:
            return LocalSnapshot.open(self.store, self.stored, policy=self._policy)
        # A database may give the id of a deleted segment to a new one; the file's name is a digest.
        new = [id_ for id_, file in manifest.files.items() if self.files.get(id_) != file]
        paths = [self.store.folder / manifest.files[id_] for id_ in new]
        opened = self.reader.segments
        segments = (*opened, *open_segments(paths, self.encoding))
        kept = {id_: self._numbers[id_] for id_ in manifest.files if id_ not in new}
        numbers = kept | dict(zip(new, range(len(opened), len(segments)), strict=True))
        in_use = sum(len(segments[number]) for number in numbers.values())
        if in_use < (1 - self._policy.max_stale_share) * sum(map(len, segments)):
            return LocalSnapshot.open(self.store, self.stored, policy=self._policy)
        return LocalSnapshot(
            self.store,
            self.stored,
            manifest,
            segments,
            numbers,
            before=self,
            policy=self._policy,
        )

    # The Snapshot protocol

    @property
    def facts(self) -> SnapshotFacts:
        """Facts that cost nothing to know."""
        return SnapshotFacts(
            stored=self.stored,
            revision=self.revision,
            photos=len(self._live_ids),
            photos_scored=self._photos_scored,
            photos_to_scan=len(self.reader) - self._scan.photos,
            scan_threads=self._scan.threads,
        )

    @property
    def candidate_index(self) -> CandidateIndexFacts | None:
        """Facts of the candidate index, loaded when first read; None if there is no usable one."""
        if self.stored_index is None or self.pq_index is None:
            return None
        return CandidateIndexFacts(
            photos=self.stored_index.photos,
            newer=len(self._newer_ids),
            shortlist_per_k=SHORTLIST_PER_K,
            recall=self.stored_index.recall,
        )

    def content_ids(self, among: ContentIds | None = None) -> ContentIds:
        """Return live content ids in storage order; `among` keeps only ids that are in it."""
        if among is None:
            return self._live_ids
        return self._id_of_row[np.flatnonzero(self._mask(among))]

    def candidates(
        self, query: WeightedQuery, *, k: int, probes: int, allowed: ContentIds | None = None
    ) -> Shortlist:
        """Return what the PQ index finds, exact products deciding, and what it does not have."""
        index = self.pq_index
        assert index is not None and self.stored_index is not None
        indexed, newer = self._indexed_ids, self._newer_ids
        if allowed is not None:
            is_indexed = self._is_indexed[self._rows(allowed)]  # (n,)
            indexed, newer = allowed[is_indexed], allowed[~is_indexed]
        everything = len(indexed) == self.stored_index.photos  # no photo of the index is gone
        probe = index.probe_for(query.directions, allowed=None if everything else indexed)
        found = shortlist(
            query,
            probe,
            lambda vectors: self.fused_products(vectors, query.labels[0]),
            k=k,
            probes=probes,
            total=len(index),
        )
        return Shortlist(found, newer)

    def scan(
        self, label: Vector, *, vectors: int, allowed: ContentIds | None = None
    ) -> BoundedCandidates:
        """Return the photos with the best fused vectors; build the scan if it is missing."""
        is_allowed = self._is_live if allowed is None else self._mask(allowed)
        found = self._whole_scan().best(label, vectors=vectors, is_allowed=is_allowed)
        return BoundedCandidates(self._id_of_row[found.rows], found.upper, found.bound)

    def similarities(self, content_ids: ContentIds, labels: Vector) -> Similarities:
        """Return the inner products of stored vectors with labels (L, D), and patch counts."""
        rows = self._rows(content_ids)
        self._photos_scored += len(rows)  # a rough count: threads may lose some
        return Similarities(self.reader.products(rows, labels), self.reader.counts(rows))

    def vectors(self, content_ids: ContentIds) -> StoredVectors:
        """Return decoded vectors and patch counts, checked. Raises LibraryDamaged."""
        rows = self._rows(content_ids)
        self._check(rows)
        return StoredVectors(self.reader.vectors(rows), self.reader.counts(rows))

    def global_vectors(self, content_ids: ContentIds) -> Vector:
        """Return decoded global vectors (n, D), not checked."""
        return self.reader.global_vectors(self._rows(content_ids))

    def checked_contents(self, content_ids: ContentIds) -> NDArray[np.uint8]:
        """Check what is stored of photos; return (n, 32), the SHA-256 of the bytes it is of."""
        return self.reader.checked_contents(self._rows(content_ids))

    def member_patches(self, content_ids: ContentIds) -> NDArray[np.bool_]:
        """Return (n, m, P), or (n, m, V P): the patches that each local vector is the mean of."""
        return self.reader.member_patches(self._rows(content_ids))

    def release_pages(self) -> None:
        """Give back memory of mapped files; it would add up to the whole library."""
        self.reader.release_pages()

    # Beyond the protocol: what building and inspecting a candidate index takes

    @property
    def encoding(self) -> Encoding:
        """The encoding of the vectors."""
        return self.stored.encoding

    def fused_products(self, vectors: OwnedVectors, label: Vector) -> Vector:
        """Return (v,): the inner products of single vectors g + l with a label (D,)."""
        is_first = vectors.is_first
        rows = self._rows(vectors.content_ids[is_first])[np.cumsum(is_first) - 1]  # (v,)
        order = np.argsort(rows, kind="stable")  # as they lie on disk
        products = np.empty(len(rows), np.float32)
        products[order] = self.reader.fused_products(rows[order], vectors.local_index[order], label)
        return products

    def vector_rows(self) -> NDArray[np.int64]:
        """Return (n, 3): segment id, row in it and content id of every live vector."""
        rows = np.flatnonzero(self._is_live)
        ids = np.zeros(len(self.reader.segments), np.int64)
        ids[list(self._numbers.values())] = list(self._numbers)
        numbers = self.reader.segment_of(rows)
        inside = rows - self.reader.starts[numbers]
        return np.stack([ids[numbers], inside, self._id_of_row[rows]], axis=1)

    @property
    def pq_index(self) -> PQIndex | None:
        """The candidate index in memory, loaded when first read; None if there is no usable one."""
        with self._loading:
            if not self._is_loaded and self.stored_index is not None:
                self._pq_index = self._load(self.stored_index)
                self._is_loaded = True
            return self._pq_index

    def _load(self, index: CandidateIndex) -> PQIndex | None:
        """Load the index. Log a warning if it is damaged, unless a writer has replaced it since."""
        try:
            return load_pq_index(self.store.index_folder, index, self.encoding)
        except LibraryDamaged as error:
            if self.store.candidate_index(self.stored) == index:
                log.warning("%s", error)
            return None

    def _whole_scan(self) -> Scan:
        """Return a scan of every row, extended by the segments that are new."""
        with self._scanning:
            if self._scan.photos < len(self.reader):
                scan = self._scan.copy()
                if len(scan.blocks) >= self._policy.max_scan_blocks:
                    scan = Scan(self.encoding.dim)
                first = int(np.searchsorted(self.reader.starts, scan.photos))
                scan.add(
                    self.reader.all_vectors(first),
                    photos=len(self.reader) - scan.photos,
                    peak=max(segment.peak() for segment in self.reader.segments[first:]),
                )
                self._scan = scan
            return self._scan

    def _check_segments(self, first: int) -> None:
        """Check that segments are those of their photos, by one live row of each."""
        starts, ends = self.reader.starts[first:-1], self.reader.starts[first + 1 :]
        live = np.flatnonzero(self._is_live)
        at = np.searchsorted(live, starts)  # the first live row at or after each start
        has_more = at < len(live)
        rows = live[at[has_more]]
        self._check(rows[rows < ends[has_more]])

    def _check(self, rows: Rows) -> None:
        """Raise LibraryDamaged unless live rows are as they were written, for these photos."""
        found = self.reader.checked_contents(rows)
        ids = self._id_of_row[rows].tolist()
        sha256s = self.store.content_sha256s(ids)
        for row, id_, content in zip(rows.tolist(), ids, found, strict=True):
            if sha256s.get(id_, content.tobytes()) != content.tobytes():  # else it is gone by now
                segment = self.reader.segments[self.reader.segment_of(np.array([row]))[0]]
                raise LibraryDamaged(
                    f"The segment {segment.name} has the vectors of other photos than the database "
                    "says. Run `mkt repair` to encode its photos again."
                )

    # Content ids and rows

    @cached_property
    def _live_ids(self) -> ContentIds:
        """Live content ids in storage order."""
        return self._id_of_row[self._is_live]

    @cached_property
    def _is_indexed(self) -> NDArray[np.bool_]:
        """(rows,): which live rows the candidate index has."""
        index = self.pq_index
        known = np.empty(0, np.int64) if index is None else index.content_ids
        return self._is_live & np.isin(self._id_of_row, known)

    @cached_property
    def _indexed_ids(self) -> ContentIds:
        return self._id_of_row[self._is_indexed]

    @cached_property
    def _newer_ids(self) -> ContentIds:
        return self._id_of_row[self._is_live & ~self._is_indexed]

    @cached_property
    def _row_table(self) -> Rows:
        """Row by content id, -1 for ids that are not live."""
        table = np.full(int(self._id_of_row.max(initial=-1)) + 1, -1, np.int64)
        live = np.flatnonzero(self._is_live)
        table[self._id_of_row[live]] = live
        return table

    def _row_of(self, content_ids: ContentIds) -> Rows:
        """Return the row of each content id, -1 for one that is not live."""
        table = self._row_table
        is_known = (content_ids >= 0) & (content_ids < len(table))
        rows = np.full(len(content_ids), -1, np.int64)
        rows[is_known] = table[content_ids[is_known]]
        return rows

    def _rows(self, content_ids: ContentIds) -> Rows:
        """Return the row of each content id. Raises LookupError for one that is not live."""
        rows = self._row_of(content_ids)
        if len(rows) and rows.min() < 0:
            raise LookupError(f"content id {content_ids[rows < 0][0]} is not in this snapshot")
        return rows

    def _mask(self, among: ContentIds) -> NDArray[np.bool_]:
        """Return (rows,): which live rows have one of the content ids."""
        rows = self._row_of(among)
        mask = np.zeros(len(self.reader), np.bool_)
        mask[rows[rows >= 0]] = True
        return mask


def _whole_manifest(store: LocalFiles, stored: StoredEncoding) -> Manifest:
    """Return a manifest with every live vector, most of them from the row map file if it helps."""
    index = store.candidate_index(stored)
    if index is None:
        return store.manifest(stored.id)
    try:
        vector_rows = load_row_map(store.index_folder, index)
    except LibraryDamaged as error:
        manifest = store.manifest(stored.id)
        if manifest.candidate_index == index:  # else a writer has replaced the file since
            log.warning("%s", error)
        return manifest
    manifest = store.manifest(stored.id, since=index.revision)
    if manifest.changed is None:
        return manifest
    unchanged = vector_rows[~np.isin(vector_rows[:, 2], manifest.changed)]
    return replace(manifest, live=np.concatenate([unchanged, manifest.live]), changed=None)


def row_map_is_right(store: LocalFiles, stored: StoredEncoding) -> bool:
    """Return whether the row map file and the changes since agree with the database."""
    found, rows = _whole_manifest(store, stored), store.manifest(stored.id)
    if found.revision != rows.revision:
        return True  # a writer is at work: it cannot be decided now
    mine, theirs = (one.live[np.argsort(one.live[:, 2])] for one in (found, rows))
    return np.array_equal(mine, theirs)
