"""Assign labels of a vocabulary to photos: in blocks, at the speed of a matrix product.

A block of photos is decoded once and multiplied with the labels a tile at a time. A tile's products
are scored while they are in the processor's cache, and only the scores (photos, labels) are kept to
choose from. If the labels do not fit into memory together, blocks of labels pass the best on to the
next one. Every thread works on a block of photos of its own. The size of blocks follows from the
memory allowed, so memory grows neither with the photos of the library nor with photos x labels.
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
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Encoding, Vector

MEGABYTE = 1_000_000

MAX_SORTED = 1 / 16
"""Share of all pairs of photo and label that can be sorted as they are."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """Words that the labels of a photo must beat: vectors (W, D), and the handicap of each, (W,).

    A label must be worth as much to a photo as the word below which `share` of the words are.
    """

    vectors: Vector
    handicap: Vector
    share: float

    def bar(self, scores: Vector) -> Vector:
        """Return what a label must be worth to photos (n,), given their scores of words (n, W)."""
        worth = scores - self.handicap
        place = min(int(self.share * worth.shape[1]), worth.shape[1] - 1)
        bar: Vector = np.partition(worth, place, axis=1)[:, place]
        return bar


@dataclass(frozen=True)
class TagRule:
    """Which labels a photo gets: of those that pass, the `top` that are worth most (0: all).

    Args:
        top: the most labels for a photo.
        threshold: the lowest score that passes, one for all labels or one for each, (L,).
        handicap: (L,), what a label is worth less than its score, against labels that win
            everywhere; None is nothing.
        words: that a label must beat to pass.
    """

    top: int
    threshold: float | Vector | None = None
    handicap: Vector | None = None
    words: Words | None = None


@dataclass(frozen=True)
class TagPolicy:
    """Sizes of the work, and what it takes in memory, generously measured.

    vectors_per_product: vectors of photos in one matrix product.
    labels_per_product: labels in one product; with the vectors, 4 MB that a cache can hold.
    max_threads: blocks of photos that are worked on side by side.
    bytes_per_number: of a decoded vector: its code, the code as float32, and times its step.
    bytes_per_product: of a vector and a label, with the copies that find the best patches.
    bytes_per_score: a score, and what choosing takes if every label is chosen.
    bytes_per_assignment: one that waits for the next block of labels.
    """

    vectors_per_product: int = 1_024
    labels_per_product: int = 1_024
    max_threads: int = 16
    bytes_per_number: int = 12
    bytes_per_product: int = 16
    bytes_per_score: int = 80
    bytes_per_assignment: int = 48


DEFAULT = TagPolicy()


@dataclass(frozen=True)
class Blocks:
    """Photos and labels that are scored together, and the threads that work side by side."""

    photos: int
    labels: int
    threads: int


@dataclass(frozen=True)
class LabelAssignments:
    """The labels of n photos, photo by photo, best label first: four arrays of one length.

    `photos` are 0 to n - 1, `labels` are rows of the vocabulary, `worth` is the score less the
    label's handicap.
    """

    photos: Ids
    labels: Ids
    scores: Vector
    worth: Vector

    def best(self, top: int) -> "LabelAssignments":
        """Sort by photo, then worth, then label; keep the first `top` of each photo, 0 for all."""
        order = np.lexsort((self.labels, -self.worth, self.photos))
        if top:
            photos = self.photos[order]
            rank = np.arange(len(order)) - np.searchsorted(photos, photos)  # within its photo
            order = order[rank < top]
        return LabelAssignments(
            self.photos[order], self.labels[order], self.scores[order], self.worth[order]
        )

    def merged(self, other: "LabelAssignments", top: int) -> "LabelAssignments":
        """Return the best of both."""
        return LabelAssignments(
            np.concatenate([self.photos, other.photos]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.worth, other.worth]),
        ).best(top)


def blocks_within(
    megabytes: int, encoding: Encoding, labels: int, *, top: int, policy: TagPolicy = DEFAULT
) -> Blocks:
    """Return the largest blocks that fit into memory, label vectors included.

    Args:
        megabytes: memory allowed beyond that of the program and the library's own tables, in 10^6
            bytes.
        encoding: of the photos.
        labels: L, the number of labels.
        top: labels a photo gets at most, 0 for any number.
        policy: sizes.

    Raises:
        QueryError: not even one photo fits beside the labels; the text says how much would do.
    """
    left = megabytes * MEGABYTE - 4 * labels * encoding.dim
    min_labels = min(labels, policy.labels_per_product)
    max_photos = max(1, policy.vectors_per_product // (1 + encoding.m))
    per_photo = (1 + encoding.m) * (
        policy.bytes_per_number * encoding.dim + policy.bytes_per_product * min_labels
    ) + policy.bytes_per_assignment * min(top or labels, labels)
    for threads in range(min(os.cpu_count() or 1, policy.max_threads), 0, -1):
        sizes = (max_photos, max(1, max_photos // 4), *([1] if threads == 1 else []))
        for photos in sizes:
            score_bytes = left // threads - photos * per_photo
            labels_that_fit = score_bytes // (photos * policy.bytes_per_score)
            if labels_that_fit >= min_labels:
                return Blocks(photos, min(labels, labels_that_fit), threads)
    needed = 4 * labels * encoding.dim + per_photo + policy.bytes_per_score * min_labels
    enough = -(-needed // MEGABYTE)
    raise QueryError(
        f"{labels:,} labels take {enough:,} MB of memory, memory_mb in [tag] allows {megabytes:,}: "
        f"raise it (--memory-mb {enough}), or tag with fewer labels."
    )


def assign_labels(
    snapshot: Snapshot,
    labels: Vector,
    rule: TagRule,
    blocks: Blocks,
    *,
    policy: TagPolicy = DEFAULT,
) -> Iterator[tuple[ContentIds, LabelAssignments]]:
    """Yield (content ids, their labels) for all live photos, block by block.

    Args:
        snapshot: the stored vectors.
        labels: (L, D).
        rule: which labels a photo gets.
        blocks: from `blocks_within`.
        policy: sizes.
    """
    tile = min(blocks.labels, policy.labels_per_product)
    vectors = blocks.photos * (1 + snapshot.facts.encoding.m)
    buffers: SimpleQueue[Vector] = SimpleQueue()  # one for each thread
    for _ in range(blocks.threads):
        buffers.put(np.empty(vectors * tile, np.float32))

    def work(content_ids: ContentIds) -> tuple[ContentIds, LabelAssignments]:
        buffer = buffers.get()
        try:
            block = _Block(snapshot, content_ids, tile, buffer)
            return content_ids, block.assignments(labels, rule, blocks.labels)
        finally:
            buffers.put(buffer)

    waiting: deque[Future[tuple[ContentIds, LabelAssignments]]] = deque()
    pool = ThreadPoolExecutor(blocks.threads, "tag")
    content_ids = snapshot.content_ids()
    try:
        for first in range(0, len(content_ids), blocks.photos):
            waiting.append(pool.submit(work, content_ids[first : first + blocks.photos]))
            if len(waiting) > blocks.threads:
                yield waiting.popleft().result()
                snapshot.release_pages()  # else what was read adds up to the whole library
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        snapshot.release_pages()


class _Block:
    """The decoded vectors of some photos, and memory for their products with a tile of labels."""

    def __init__(
        self, snapshot: Snapshot, content_ids: ContentIds, tile: int, buffer: Vector
    ) -> None:
        self._k = snapshot.facts.encoding.top_k
        vectors, counts = snapshot.vectors(content_ids)  # (n, 1 + m, D), (n, m)
        self._vectors, self._counts = without_padding(vectors, counts, self._k)
        self._tile, self._buffer = tile, buffer

    def assignments(self, labels: Vector, rule: TagRule, labels_at_once: int) -> LabelAssignments:
        """Return the labels (L, D) that the photos get."""
        bar = None if rule.words is None else rule.words.bar(self._scores(rule.words.vectors))
        best: LabelAssignments | None = None
        for first in range(0, len(labels), labels_at_once):
            scores = self._scores(labels[first : first + labels_at_once])  # (n, labels_at_once)
            found = select_labels(scores, rule, first, bar)
            best = found if best is None else best.merged(found, rule.top)
        assert best is not None  # a vocabulary has labels
        return best

    def _scores(self, labels: Vector) -> Vector:
        """Return the fused scores (n, L), multiplied a tile of labels at a time."""
        n, per_photo, dim = self._vectors.shape
        rows = self._vectors.reshape(-1, dim)  # (n (1 + m), D)
        scores = np.empty((n, len(labels)), np.float32)
        for first in range(0, len(labels), self._tile):
            tile = labels[first : first + self._tile]  # (t, D)
            products = self._buffer[: len(rows) * len(tile)].reshape(len(rows), -1)
            np.matmul(rows, tile.T, out=products)  # (n (1 + m), t)
            streams = score_similarities(
                products.reshape(n, per_photo, -1), self._counts, k=self._k
            )
            scores[:, first : first + self._tile] = streams.fused
        return scores


def select_labels(
    scores: Vector, rule: TagRule, first: int = 0, bar: Vector | None = None
) -> LabelAssignments:
    """Select labels from scores (n, L); ties go to the lower label index.

    Args:
        scores: (n, L), of some labels of the vocabulary.
        rule: which labels a photo gets.
        first: index of the first label.
        bar: (n,), what a label must be worth to a photo to pass.
    """
    n, labels = scores.shape
    columns = slice(first, first + labels)
    handicap = np.zeros(labels, np.float32) if rule.handicap is None else rule.handicap[columns]
    is_selected = np.ones((n, labels), np.bool_)
    if rule.threshold is not None:
        lowest = rule.threshold
        if isinstance(lowest, np.ndarray):
            lowest = lowest[columns]
        np.greater_equal(scores, lowest, out=is_selected)
    if 0 < rule.top < labels and np.count_nonzero(is_selected) > MAX_SORTED * scores.size:
        # Of many that pass, sorting only those that may be among the best is faster.
        all_worth = scores if rule.handicap is None else scores - handicap
        if rule.threshold is not None:
            all_worth = np.where(is_selected, all_worth, -np.inf)
        last = np.partition(all_worth, labels - rule.top, axis=1)[:, labels - rule.top]  # (n,)
        is_selected &= all_worth >= last[:, None]
    photos, found = np.nonzero(is_selected)
    chosen = scores[photos, found]
    worth = chosen - handicap[found]
    if bar is not None:
        above = np.flatnonzero(worth >= bar[photos])
        photos, found, chosen, worth = photos[above], found[above], chosen[above], worth[above]
    return LabelAssignments(photos, found + first, chosen, worth).best(rule.top)
