"""Score the photos of a dataset for its labels with a student, batch by batch.

Every patch of a photo is scored; only the scores (N, L) are kept.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows, machine_memory
from mkt_search.errors import EvaluationError, PhotoError
from mkt_search.evaluation.protocol import PhotoScores, score_encoded
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.views import Views, encode_views
from mkt_search.photos import decode as images
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.scoring import StreamScores, of_best_view
from mkt_search.types import ImageSpec, Vector

SCORE_ARRAYS = 8  # (N, L) float32 in memory: two streams on two scales, and as much to measure them


@dataclass(frozen=True)
class Loading:
    """How photos are read: photos per batch, decoding threads, and the largest photo in pixels.

    `workers` 0 means a thread per processor.
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
    memory_bytes: int | None = None,
    step: str = "encoding photos",
    progress: ProgressCallback = no_progress,
) -> tuple[Rows, list[PhotoScores]]:
    """Score photos by every patch; a photo is encoded once for all sets of label vectors.

    Args:
        encoder: the student.
        dataset: the photos and their targets for L labels.
        rows: the photos to score.
        labels: sets of label vectors, (L, D) each, for example of two prompts.
        k: patches in the mean of the local score.
        loading: how photos are read.
        memory_bytes: memory that the scores may take; that of the machine by default.
        step: the step in progress events.
        progress: receives the number of photos done after every batch.

    Returns:
        The rows that could be read, and their scores for each set of label vectors.

    Raises:
        EvaluationError: the student returns numbers that are not finite, or the scores do not fit
            into the machine's memory.
    """
    available = machine_memory() if memory_bytes is None else memory_bytes
    _require_memory(len(rows), sum(map(len, labels)), available)
    tables = [_empty_scores(len(rows), len(vectors)) for vectors in labels]
    read: list[int] = []
    done = 0
    progress(Progress(step, 0, len(rows)))
    for batch in read_batches(dataset, rows, encoder.spec, loading or Loading()):
        if batch.photos:
            encoded = encode_views(encoder, batch.photos)
            views = [len(photo) for photo in batch.photos]
            kept = slice(len(read), len(read) + len(views))
            for table, vectors in zip(tables, labels, strict=True):
                for part, found in zip(table, score_encoded(encoded, vectors, k=k), strict=True):
                    scores = of_best_view(found, views)
                    part.global_scores[kept], part.local_scores[kept] = (
                        scores.global_scores,
                        scores.local_scores,
                    )
            _require_finite(tables, kept, dataset.files[batch.readable[0]])
            read += batch.readable
        done += batch.size
        progress(Progress(step, done, len(rows), failed=done - len(read)))
    readable = np.array(read, np.int64)
    targets = dataset.targets[readable]
    shortened = [[_first(part, len(read)) for part in table] for table in tables]
    share = encoder.local_share
    return readable, [PhotoScores(dot, cosine, targets, share) for dot, cosine in shortened]


@dataclass(frozen=True)
class Batch:
    """The readable rows of a batch of `size` photos, and the views of each."""

    readable: list[int]
    photos: list[Views]
    size: int


def read_batches(
    dataset: PhotoDataset, rows: Rows, spec: ImageSpec, loading: Loading
) -> Iterator[Batch]:
    """Yield photos in batches as a student wants them; those that cannot be read are left out."""
    photos = _load(dataset, rows, spec, loading)
    while loaded := list(islice(photos, loading.batch_size)):
        kept = [(row, views) for row, views in loaded if views is not None]
        yield Batch([row for row, _ in kept], [views for _, views in kept], len(loaded))


def _load(
    dataset: PhotoDataset, rows: Rows, spec: ImageSpec, loading: Loading
) -> Iterator[tuple[int, Views | None]]:
    """Decode on threads while the student works, at most two batches ahead."""
    waiting: deque[tuple[int, Future[Views | None]]] = deque()
    ahead = 2 * loading.batch_size
    with ThreadPoolExecutor(loading.workers or os.cpu_count(), thread_name_prefix="load") as pool:
        try:
            for row in rows.tolist():
                path = dataset.folder / dataset.files[row]
                waiting.append((row, pool.submit(_views, path, spec, loading.max_pixels)))
                if len(waiting) >= ahead:
                    number, decoded = waiting.popleft()
                    yield number, decoded.result()
            while waiting:
                number, decoded = waiting.popleft()
                yield number, decoded.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _views(path: Path, spec: ImageSpec, max_pixels: int) -> Views | None:
    """Return what the student sees of a photo; None if it cannot be read."""
    try:
        data = images.read(path)
        side = spec.decode_side
        photo = images.decode(data, name=path.name, shorter_side=side, max_pixels=max_pixels)
        return images.to_views(photo, spec)
    except (PhotoError, MemoryError):
        return None


def _require_memory(photos: int, labels: int, available: int) -> None:
    """Refuse an evaluation that would run out of memory after hours."""
    needed = 4 * SCORE_ARRAYS * photos * labels
    if available and needed > available:
        raise EvaluationError(
            f"the scores of {photos:,} photos for {labels:,} labels take {needed / 2**30:.1f} GiB,"
            f" there are {available / 2**30:.1f}. Name fewer test photos with --splits."
        )


def _require_finite(
    tables: Sequence[tuple[StreamScores, StreamScores]], kept: slice, file: str
) -> None:
    for table in tables:
        if not all(np.isfinite(part.fused[kept]).all() for part in table):
            raise EvaluationError(
                f"the model returns numbers that are not finite for {file} or another photo of its"
                " batch; its weights are damaged, or it needs --dtype float32."
            )


def _empty_scores(photos: int, labels: int) -> tuple[StreamScores, StreamScores]:
    dot, cosine = (
        StreamScores(*(np.zeros((photos, labels), np.float32) for _ in range(2))) for _ in range(2)
    )
    return dot, cosine


def _first(scores: StreamScores, count: int) -> StreamScores:
    return StreamScores(scores.global_scores[:count], scores.local_scores[:count])
