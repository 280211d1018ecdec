"""Photos of a dataset against its labels, streamed through a student.

Every patch of a photo is scored, and forgotten with its batch: what stays is (N, L).
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.datasets.dataset import PhotoDataset, Rows, machine_memory
from mkt_search.errors import EvaluationError, PhotoError
from mkt_search.evaluation.protocol import Scored, score_encoded
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos import decode as images
from mkt_search.scoring import StreamScores
from mkt_search.types import ImageSpec, Vector

Progress = Callable[[int, int], None]
Pixels = NDArray[np.uint8]
ARRAYS = 8  # of (N, L) float32 at a time: two streams on two scales, and what judging them takes


@dataclass(frozen=True)
class Loading:
    """How photos are read: together in a batch, by so many threads, and the largest there may be.

    `workers` 0 is a thread for each processor.
    """

    batch_size: int = 32
    workers: int = 0
    max_pixels: int = images.MAX_PIXELS


def score_photos(
    encoder: PhotoEncoder,
    dataset: PhotoDataset,
    rows: Rows,
    labels: Sequence[Vector],
    *,
    k: int,
    loading: Loading | None = None,
    progress: Progress = lambda done, total: None,
) -> tuple[Rows, list[Scored]]:
    """Score photos with every patch; each is encoded once for all sets of label vectors.

    Args:
        encoder: the student.
        dataset: where the photos are, and what is known of its L labels.
        rows: which of them.
        labels: sets of label vectors, (L, D) each, such as of two prompts.
        k: patches averaged in the local score.
        loading: how the photos are read.
        progress: hears after every batch how many photos of how many are done.

    Returns:
        The rows that could be read, and the scores of these photos for each set.

    Raises:
        EvaluationError: the student gives numbers that are not finite, or the scores of all photos
            do not fit into this machine's memory.
    """
    _require_memory(len(rows), sum(map(len, labels)))
    tables = [_empty_tables(len(rows), len(vectors)) for vectors in labels]
    read: list[int] = []
    done = 0
    for batch, pixels in _batches(dataset, rows, encoder.spec, loading or Loading()):
        if pixels is not None:
            encoded = encoder.encode(pixels)
            kept = slice(len(read), len(read) + len(pixels))
            for table, vectors in zip(tables, labels, strict=True):
                for part, scores in zip(table, score_encoded(encoded, vectors, k=k), strict=True):
                    part.global_[kept], part.local[kept] = scores.global_, scores.local
            _require_finite(tables, kept, dataset.files[batch.readable[0]])
            read += batch.readable
        done += batch.size
        progress(done, len(rows))
    readable = np.array(read, np.int64)
    targets = dataset.targets[readable]
    shortened = [[_first(part, len(read)) for part in table] for table in tables]
    return readable, [Scored(dot, cosine, targets) for dot, cosine in shortened]


@dataclass(frozen=True)
class _Batch:
    """`readable` rows of a batch of `size` photos."""

    readable: list[int]
    size: int


def _batches(
    dataset: PhotoDataset, rows: Rows, spec: ImageSpec, loading: Loading
) -> Iterator[tuple[_Batch, Pixels | None]]:
    """Yield batches with their pixels (B, H, W, 3); None where no photo of a batch can be read."""
    photos = _load(dataset, rows, spec, loading)
    while some := list(islice(photos, loading.batch_size)):
        kept = [(row, pixels) for row, pixels in some if pixels is not None]
        batch = _Batch([row for row, _ in kept], len(some))
        yield batch, np.stack([pixels for _, pixels in kept]) if kept else None


def _load(
    dataset: PhotoDataset, rows: Rows, spec: ImageSpec, loading: Loading
) -> Iterator[tuple[int, Pixels | None]]:
    """Decode on threads while the student works; no more than two batches wait."""
    waiting: deque[tuple[int, Future[Pixels | None]]] = deque()
    ahead = 2 * loading.batch_size
    with ThreadPoolExecutor(loading.workers or os.cpu_count(), thread_name_prefix="load") as pool:
        try:
            for row in rows.tolist():
                path = dataset.folder / dataset.files[row]
                waiting.append((row, pool.submit(_pixels, path, spec, loading.max_pixels)))
                if len(waiting) >= ahead:
                    number, decoded = waiting.popleft()
                    yield number, decoded.result()
            while waiting:
                number, decoded = waiting.popleft()
                yield number, decoded.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _pixels(path: Path, spec: ImageSpec, max_pixels: int) -> Pixels | None:
    """The photo as the student sees it; None for one that cannot be read."""
    try:
        data = images.read(path)
        side = spec.decode_side
        image = images.decode(data, name=path.name, shorter_side=side, max_pixels=max_pixels).image
        return images.to_pixels(image, spec)
    except (PhotoError, MemoryError):
        return None


def _require_memory(photos: int, labels: int) -> None:
    """Refuse what would be killed for its memory in the end, after hours."""
    there, needed = machine_memory(), 4 * ARRAYS * photos * labels
    if there and needed > there:
        raise EvaluationError(
            f"the scores of {photos:,} photos for {labels:,} labels take {needed / 2**30:.1f} GiB,"
            f" this machine has {there / 2**30:.1f}. Name fewer test photos with --splits."
        )


def _require_finite(
    tables: Sequence[tuple[StreamScores, StreamScores]], kept: slice, file: str
) -> None:
    for table in tables:
        if not all(np.isfinite(part.fused[kept]).all() for part in table):
            raise EvaluationError(
                f"the model gives numbers that are not finite for {file} or a photo beside it; its"
                " weights are damaged, or --dtype float32 is needed."
            )


def _empty_tables(photos: int, labels: int) -> tuple[StreamScores, StreamScores]:
    dot, cosine = (
        StreamScores(*(np.zeros((photos, labels), np.float32) for _ in range(2))) for _ in range(2)
    )
    return dot, cosine


def _first(scores: StreamScores, count: int) -> StreamScores:
    return StreamScores(scores.global_[:count], scores.local[:count])
