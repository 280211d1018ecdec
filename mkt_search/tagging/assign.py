"""Which labels of a vocabulary go to which photo: in blocks, at the speed of a matrix product.

A block of photos is decoded once and multiplied with the labels a tile at a time; a tile's products
are scored while they are in the processor's cache, and only (photos, labels) scores are kept to
choose from. Blocks of labels that do not fit beside each other hand their best on to the next one.
Threads take a block each. How large blocks are follows from the memory that is allowed: it grows
neither with the photos of the library nor with photos x labels.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import QueryError
from mkt_search.scoring import score_similarities, without_padding
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Encoding, Vector

ROWS = 1_024  # vectors of photos in one product
COLUMNS = 1_024  # labels in one product: 4 MB, for a cache to hold
MOST_THREADS = 16
MEGABYTE = 1_000_000

Ids = NDArray[np.int64]

# bytes, measured generously
PER_NUMBER = 12  # of a decoded vector: its code, what that is in steps, times its step
PER_PRODUCT = 16  # of a vector and a label, with the copies that find the best patches
PER_SCORE = 80  # a score, and what choosing takes when every label is chosen
PER_PICK = 48  # a pick that waits for the next block of labels


@dataclass(frozen=True)
class TagRule:
    """At most `top` labels a photo, best first (0: any number), that score `threshold` or more."""

    top: int
    threshold: float | None


@dataclass(frozen=True)
class Blocks:
    """Photos and labels that are scored together, and the threads that do so side by side."""

    photos: int
    labels: int
    threads: int


@dataclass(frozen=True)
class LabelAssignments:
    """What n photos get, photo by photo, best label first: arrays of one length.

    `rows` are 0 to n - 1, `labels` rows of the vocabulary.
    """

    rows: Ids
    labels: Ids
    scores: Vector

    def best(self, top: int) -> "LabelAssignments":
        """Sort by photo, then score, then label; keep the first `top` of each photo, 0 for all."""
        order = np.lexsort((self.labels, -self.scores, self.rows))
        if top:
            rows = self.rows[order]
            order = order[np.arange(len(order)) - np.searchsorted(rows, rows) < top]
        return LabelAssignments(self.rows[order], self.labels[order], self.scores[order])

    def with_(self, other: "LabelAssignments", top: int) -> "LabelAssignments":
        """Return the best of both."""
        return LabelAssignments(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.scores, other.scores]),
        ).best(top)


def blocks_within(megabytes: int, encoding: Encoding, labels: int, *, top: int) -> Blocks:
    """Return the largest blocks that fit: label vectors and work together, in MB of 10^6 bytes.

    Args:
        megabytes: what may be used, over what the program and the library's own tables need.
        encoding: of the photos.
        labels: L, how many there are.
        top: labels a photo gets at most, 0 for any number.

    Raises:
        QueryError: not even one photo fits beside the labels; the text says what would do.
    """
    left = megabytes * MEGABYTE - 4 * labels * encoding.dim
    least = min(labels, COLUMNS)
    most = max(1, ROWS // (1 + encoding.m))
    kept = PER_PICK * min(top or labels, labels)
    for threads in range(min(os.cpu_count() or 1, MOST_THREADS), 0, -1):
        for photos in (most, max(1, most // 4), 1) if threads == 1 else (most, max(1, most // 4)):
            fixed = photos * (_per_photo(encoding, least) + kept)
            fit = (left // threads - fixed) // (photos * PER_SCORE)
            if fit >= least:
                return Blocks(photos, min(labels, fit), threads)
    needed = 4 * labels * encoding.dim + _per_photo(encoding, least) + kept + PER_SCORE * least
    enough = -(-needed // MEGABYTE)
    raise QueryError(
        f"{labels:,} labels take {enough:,} MB of memory, memory_mb in [tag] allows {megabytes:,}: "
        f"raise it (--memory-mb {enough}), or tag with fewer labels."
    )


def _per_photo(encoding: Encoding, columns: int) -> int:
    """Return the bytes that a photo's vectors and their products with a tile of labels take."""
    return (1 + encoding.m) * (PER_NUMBER * encoding.dim + PER_PRODUCT * columns)


def picks(
    index: LocalSnapshot, labels: Vector, choice: TagRule, blocks: Blocks
) -> Iterator[tuple[Ids, LabelAssignments]]:
    """Yield (slots, what their photos get) for all live photos, block by block.

    Args:
        index: the library's vectors.
        labels: (L, D).
        choice: which labels a photo gets.
        blocks: from `blocks_within`.
    """
    buffers: SimpleQueue[Vector] = SimpleQueue()
    vectors = blocks.photos * (1 + index.encoding.m)
    for _ in range(blocks.threads):
        buffers.put(np.empty(vectors * min(blocks.labels, COLUMNS), np.float32))

    def work(slots: Ids) -> tuple[Ids, LabelAssignments]:
        buffer = buffers.get()
        try:
            return slots, _of_block(index, slots, labels, choice, blocks.labels, buffer)
        finally:
            buffers.put(buffer)

    waiting: deque[Future[tuple[Ids, LabelAssignments]]] = deque()
    pool = ThreadPoolExecutor(blocks.threads, "tag")
    try:
        for slots in index.blocks(np.flatnonzero(index.live), most=blocks.photos):
            waiting.append(pool.submit(work, slots))
            if len(waiting) > blocks.threads:
                yield waiting.popleft().result()
                _let_go(index)
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        _let_go(index)


def _let_go(index: LocalSnapshot) -> None:
    """Keep what was read of the segments from adding up to the whole library."""
    for segment in index.segments:
        segment.let_go()


def _of_block(
    index: LocalSnapshot, slots: Ids, labels: Vector, choice: TagRule, at_once: int, buffer: Vector
) -> LabelAssignments:
    """Choose labels for one block of photos."""
    k = index.encoding.top_k
    vectors, counts = index.read(slots), index.counts(slots)
    vectors, counts = without_padding(vectors, counts, k)
    found: LabelAssignments | None = None
    for first in range(0, len(labels), at_once):
        part = labels[first : first + at_once]
        some = chosen(_scores(vectors, counts, part, k, buffer), choice, first)
        found = some if found is None else found.with_(some, choice.top)
    assert found is not None  # a vocabulary has labels
    return found


def _scores(vectors: Vector, counts: Ids, labels: Vector, k: int, buffer: Vector) -> Vector:
    """Return the fused scores (n, L) of photos' vectors (n, 1 + m, D), multiplied in tiles."""
    n, each, dim = vectors.shape
    rows = vectors.reshape(-1, dim)
    scores = np.empty((n, len(labels)), np.float32)
    for first in range(0, len(labels), COLUMNS):
        tile = labels[first : first + COLUMNS]
        products = buffer[: len(rows) * len(tile)].reshape(len(rows), -1)
        np.matmul(rows, tile.T, out=products)
        streams = score_similarities(products.reshape(n, each, -1), counts, k=k)
        scores[:, first : first + COLUMNS] = streams.fused
    return scores


def chosen(scores: Vector, choice: TagRule, first: int = 0) -> LabelAssignments:
    """Choose from scores (n, L) of labels numbered from `first`; of equal ones the earlier goes."""
    n, most = scores.shape
    fits = np.ones((n, most), np.bool_)
    if choice.threshold is not None:
        np.greater_equal(scores, choice.threshold, out=fits)
    if 0 < choice.top < most:
        last = np.partition(scores, most - choice.top, axis=1)[:, most - choice.top]
        fits &= scores >= last[:, None]
    rows, columns = np.nonzero(fits)
    return LabelAssignments(rows, columns + first, scores[fits]).best(choice.top)
