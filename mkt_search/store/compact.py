"""Merge small segments, and leave out rows that no content needs.

Fewer files are faster to open. Codes are copied as they are: no vector is decoded, so none changes.
The order is that of every write: the merged file whole on disk, one transaction that names it in
place of the old ones, then the old files are deleted.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.store.disk import disk_errors
from mkt_search.store.manifest import SegmentRecord, StoredEncoding, StoredFile
from mkt_search.store.segments.coding import bytes_per_vector
from mkt_search.store.segments.files import digest
from mkt_search.store.segments.segment import Arrays, Segment, open_segment, write_arrays
from mkt_search.store.store import Store
from mkt_search.types import Encoding

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompactionPolicy:
    """Which segments are merged.

    min_segments: merge only if there are so many small segments.
    max_photos: photos in a merged segment; one with at most half as many is small.
    max_bytes: of a merged segment's codes, which are put together in memory.
    """

    min_segments: int = 64
    max_photos: int = 8_192
    max_bytes: int = 80_000_000

    def photos_per_segment(self, encoding: Encoding) -> int:
        """Return how many photos a merged segment may have."""
        photo = (1 + encoding.m) * bytes_per_vector(encoding.precision, encoding.dim)
        return max(1, min(self.max_photos, self.max_bytes // photo))


DEFAULT = CompactionPolicy()


@dataclass(frozen=True)
class _Part:
    """A segment to merge; `needed` (n, 2) has the row and the content id of each row in use."""

    record: SegmentRecord
    needed: NDArray[np.int64]

    @property
    def has_unused_rows(self) -> bool:
        return len(self.needed) < self.record.photos


def compact(store: Store, stored: StoredEncoding, policy: CompactionPolicy = DEFAULT) -> int:
    """Merge small segments of an encoding; return how many were replaced.

    Segments with unused rows count as small. A damaged segment stays for `mkt verify` to find: a
    merged file would get a digest that declares its bytes right. Only the writer may call this.

    Raises:
        StoreError: the disk is full or cannot be written; groups merged so far stay merged.
    """
    most = policy.photos_per_segment(stored.encoding)
    parts = _small_parts(store, stored, most)
    if len(parts) < policy.min_segments:
        return 0
    sound = [part for part in parts if not len(part.needed) or _is_sound(store, stored, part)]
    merged = 0
    for group in _groups(sound, most):
        if len(group) > 1 or any(part.has_unused_rows for part in group):
            _merge(store, stored, group)
            merged += len(group)
    return merged


def _small_parts(store: Store, stored: StoredEncoding, most: int) -> list[_Part]:
    in_use = store.vectors.count_rows_in_use(stored.id)
    small = [
        record
        for record in store.vectors.segments(stored.id)
        if 2 * record.photos <= most or in_use.get(record.id, 0) < record.photos
    ]
    rows = store.vectors.rows_in_use(small)
    return [_Part(record, needed) for record, needed in zip(small, rows, strict=True)]


def _is_sound(store: Store, stored: StoredEncoding, part: _Part) -> bool:
    """Return True if the bytes of a segment are those written; log a warning otherwise."""
    try:
        _open(store, stored, part)
        if digest(store.folder / part.record.file.name) == part.record.file.sha256:
            return True
        log.warning("The bytes of %s have changed. Run `mkt repair`.", part.record.file.name)
    except LibraryDamaged as error:
        log.warning("%s", error)
    return False


def _open(store: Store, stored: StoredEncoding, part: _Part) -> Segment:
    return open_segment(store.folder / part.record.file.name, stored.encoding)


def _groups(parts: Sequence[_Part], most: int) -> list[list[_Part]]:
    """Group consecutive segments so that each group has at most `most` photos, if it can."""
    groups: list[list[_Part]] = []
    photos = 0
    for part in parts:
        photos += len(part.needed)
        if not groups or photos > most:
            groups.append([])
            photos = len(part.needed)
        groups[-1].append(part)
    return groups


def _merge(store: Store, stored: StoredEncoding, parts: Sequence[_Part]) -> None:
    content_ids = np.concatenate([part.needed[:, 1] for part in parts]).tolist()
    merged = _write_merged(store, stored, [part for part in parts if len(part.needed)])
    old = [part.record for part in parts]
    unused = store.vectors.replace_segments(stored.id, old, merged, content_ids)
    store.delete_files(unused)


def _write_merged(
    store: Store, stored: StoredEncoding, parts: Sequence[_Part]
) -> StoredFile | None:
    if not parts:
        return None
    arrays = Arrays.joined([_open(store, stored, part).arrays(part.needed[:, 0]) for part in parts])
    with disk_errors(store.directory):
        return write_arrays(store.folder, arrays, stored.encoding, prefix=f"{stored.id}-")
