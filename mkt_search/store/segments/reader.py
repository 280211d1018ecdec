"""Read rows of several open segments as one table of photos.

Rows are numbered through: those of the first segment come first. A photo has 1 + m vectors, the
global one and m local ones, each coded in W bytes with a step of its own (`coding`).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.segments.coding import decode, products
from mkt_search.store.segments.files import Bytes
from mkt_search.store.segments.recent_rows import RecentRows
from mkt_search.store.segments.segment import Segment
from mkt_search.types import Encoding, Vector

Rows = NDArray[np.int64]

VECTORS_PER_PRODUCT = 4_096  # codes copied for one product: 2 MB at 512 bytes a vector
PHOTOS_PER_DECODE = 256  # about 9 MB of float32 at 17 vectors of 512 numbers
READ_AHEAD_FROM_ROWS = 64  # fewer are read as they come


class SegmentReader:
    """The rows of some open segments of one encoding; threads may share it."""

    def __init__(self, segments: Sequence[Segment], encoding: Encoding) -> None:
        self.segments = tuple(segments)
        self.starts = np.cumsum([0, *map(len, self.segments)])  # first row of each, and the end
        self._encoding = encoding
        first = self.segments[0] if self.segments else None
        self._per_photo = first.codes.shape[1] if first else 1  # 1 + m
        self._code_bytes = first.codes.shape[2] if first else 0  # W
        self._m = first.members.m if first else 0
        member_bytes = first.members.packed[0].nbytes if first and len(first) else 0
        self._recent_vectors = RecentRows(len(self), self._per_photo * (self._code_bytes + 4))
        self._recent_members = RecentRows(len(self), member_bytes)

    def __len__(self) -> int:
        """Count all rows."""
        return int(self.starts[-1])

    def vectors(self, rows: Rows) -> Vector:
        """Return (n, 1 + m, D) float32: the global and the local vectors of rows (n,)."""
        if not len(rows):
            return np.empty((0, self._per_photo, self._encoding.dim), np.float32)
        self._read_vectors_ahead(rows)
        codes, steps = self._coded(rows)
        return decode(codes, steps, self._encoding.precision, self._encoding.dim)

    def global_vectors(self, rows: Rows) -> Vector:
        """Return (n, D) float32: the global vectors of rows (n,)."""
        codes, steps = self._coded(rows, np.zeros(len(rows), np.int64))
        return decode(codes, steps, self._encoding.precision, self._encoding.dim)

    def products(self, rows: Rows, labels: Vector) -> Vector:
        """Return the inner products of the vectors of rows with labels (L, D): (n, 1 + m, L)."""
        self._read_vectors_ahead(rows)
        found = np.empty((len(rows), self._per_photo, len(labels)), np.float32)
        for part in pieces(len(rows), max(1, VECTORS_PER_PRODUCT // self._per_photo)):
            codes, steps = self._coded(rows[part])
            products(codes, steps, labels, self._encoding.precision, out=found[part])
        return found

    def fused_products(self, rows: Rows, local_index: Rows, label: Vector) -> Vector:
        """Return (v,): the inner products of single vectors g + l with a label (D,).

        Args:
            rows: (v,) photos, rising; a photo may occur several times.
            local_index: (v,) which of the photo's local vectors l is, 0 to m - 1.
            label: (D,).
        """
        self._read_vectors_ahead(rows[np.diff(rows, prepend=-1) != 0])
        fused = np.empty(len(rows), np.float32)
        for part in pieces(len(rows), VECTORS_PER_PRODUCT):
            fused[part] = self._fused_products(rows[part], local_index[part], label)
        return fused

    def _fused_products(self, rows: Rows, local_index: Rows, label: Vector) -> Vector:
        # The v vectors belong to p photos. Read p + v vectors in storage order: of each photo the
        # global one, then the local ones asked for. Then add the global product to each local one.
        is_first = np.diff(rows, prepend=-1) != 0  # (v,) True at the first vector of a photo
        photo = np.cumsum(is_first) - 1  # (v,) 0 to p - 1
        global_at = np.flatnonzero(is_first) + np.arange(photo[-1] + 1)  # (p,) in the list to read
        local_at = np.arange(len(rows)) + photo + 1  # (v,) in the list to read
        photos, vector = np.empty((2, len(rows) + len(global_at)), np.int64)  # (p + v,) each
        photos[global_at], vector[global_at] = rows[is_first], 0
        photos[local_at], vector[local_at] = rows, np.minimum(1 + local_index, self._per_photo - 1)
        codes, steps = self._coded(photos, vector)  # (p + v, W), (p + v,)
        found = products(codes, steps, label[None], self._encoding.precision)[:, 0]  # (p + v,)
        fused: Vector = found[global_at][photo]  # (v,)
        if self._per_photo > 1:
            fused += found[local_at]
        return fused

    def counts(self, rows: Rows) -> NDArray[np.int64]:
        """Return (n, m): how many patches each local vector stands for; 0 is padding."""
        if len(rows) >= READ_AHEAD_FROM_ROWS:
            for segment, inside, _ in self._by_segment(self._recent_members.add(rows)):
                segment.read_ahead(inside, segment.members.packed)
        out = np.empty((len(rows), self._m), np.int64)
        for segment, inside, at in self._by_segment(rows):
            out[at] = segment.members.counts(inside)
        return out

    def member_patches(self, rows: Rows) -> NDArray[np.bool_]:
        """Return (n, m, P): which patches each local vector is the mean of.

        If one of the photos has V > 1 views, the result is (n, m, V P), one view after the other.
        """
        parts = [
            (at, segment.members.sets(inside)) for segment, inside, at in self._by_segment(rows)
        ]
        widest = max((sets.shape[2] for _, sets in parts), default=self._encoding.patches)
        out = np.zeros((len(rows), self._m, widest), np.bool_)
        for at, sets in parts:
            out[at, :, : sets.shape[2]] = sets
        return out

    def all_vectors(self, first_segment: int = 0) -> Iterator[Vector]:
        """Yield the decoded vectors of whole segments, (n, 1 + m, D) with n up to 256.

        Raises:
            LibraryDamaged: bytes have changed since they were written.
        """
        for segment in self.segments[first_segment:]:
            for part in pieces(len(segment), PHOTOS_PER_DECODE):
                segment.check(part)
                yield segment.vectors(part)

    def checked_contents(self, rows: Rows) -> Bytes:
        """Return (n, 32): the SHA-256 of the bytes that the vectors of rows (n,) were made from.

        Raises:
            LibraryDamaged: bytes of a row have changed since they were written.
        """
        out = np.empty((len(rows), 32), np.uint8)
        for segment, inside, at in self._by_segment(rows):
            segment.check(inside)
            out[at] = segment.content[inside]
        return out

    def release_pages(self) -> None:
        """Give the memory of what was read back to the system."""
        self._recent_vectors.clear()
        self._recent_members.clear()
        for segment in self.segments:
            segment.release_pages()

    def segment_of(self, rows: Rows) -> Rows:
        """Return the number of the segment that holds each row."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def _coded(self, rows: Rows, vector: Rows | None = None) -> tuple[Bytes, Vector]:
        """Return the codes and steps of rows: (n, 1 + m, W) and (n, 1 + m).

        With `vector` (n,), those of one vector of each row: (n, W) and (n,); 0 is the global one.
        """
        shape = (len(rows), self._per_photo) if vector is None else (len(rows),)
        codes, steps = np.empty((*shape, self._code_bytes), np.uint8), np.empty(shape, np.float32)
        for segment, inside, at in self._by_segment(rows):
            one = None if vector is None else vector[at]
            if isinstance(at, slice):
                segment.coded(inside, one, out=(codes[at], steps[at]))
            else:
                codes[at], steps[at] = segment.coded(inside, one)
        return codes, steps

    def _read_vectors_ahead(self, rows: Rows) -> None:
        """Announce rows that may be on disk, so that they are all read at once."""
        if len(rows) >= READ_AHEAD_FROM_ROWS:
            for segment, inside, _ in self._by_segment(self._recent_vectors.add(rows)):
                segment.read_ahead(inside, segment.codes, segment.steps)

    def _by_segment(self, rows: Rows) -> Iterator[tuple[Segment, Rows, Rows | slice]]:
        """Yield (segment, row numbers inside it, their positions in `rows`), segment by segment.

        The positions are a slice if the rows of every segment lie together.
        """
        numbers = self.segment_of(rows)
        order = np.argsort(numbers, kind="stable")
        lie_together = np.array_equal(order, np.arange(len(rows)))
        cuts = np.flatnonzero(np.diff(numbers[order], prepend=-2, append=-2))
        for first, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            at = slice(first, end) if lie_together else order[first:end]
            number = numbers[order[first]]
            yield self.segments[number], rows[at] - self.starts[number], at


def pieces(count: int, size: int) -> Iterator[slice]:
    """Cut `count` items into slices of at most `size`."""
    return (slice(first, first + size) for first in range(0, count, size))
