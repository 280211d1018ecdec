"""The photos of a dataset, encoded and pooled as a library stores them, batch by batch."""

from collections.abc import Callable, Iterator, Sequence

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.evaluation.score_dataset import Loading, read_batches
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.views import encode_views
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.types import Encoded, PhotoVectors

Pool = Callable[[Encoded, Sequence[int]], PhotoVectors]
"""Pools a batch, given how many views each photo has."""


def pooled_batches(
    student: PhotoEncoder,
    dataset: PhotoDataset,
    rows: Rows,
    pool: Pool,
    loading: Loading,
    *,
    step: str,
    progress: ProgressCallback,
) -> Iterator[tuple[list[int], PhotoVectors]]:
    """Yield the rows of a batch that could be read, and the vectors of these photos.

    Args:
        student: encodes photos.
        dataset: the photos.
        rows: the photos to encode.
        pool: pools their patches.
        loading: how photos are read.
        step: the step in progress events.
        progress: receives the number of photos done after every batch.
    """
    done = failed = 0
    progress(Progress(step, 0, len(rows)))
    for batch in read_batches(dataset, rows, student.spec, loading):
        done += batch.size
        failed += batch.size - len(batch.readable)
        if batch.photos:
            views = [len(photo) for photo in batch.photos]
            yield batch.readable, pool(encode_views(student, batch.photos), views)
        progress(Progress(step, done, len(rows), failed=failed))
