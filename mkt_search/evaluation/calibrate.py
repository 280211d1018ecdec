"""Calibrate a model on labeled photos, pooled as a library stores them."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from mkt_search.calibration.calibrator import Calibrator, Stamp
from mkt_search.calibration.fit import FEWEST_LABELS, Labeled, fit
from mkt_search.calibration.quality import MIN_PHOTOS
from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.datasets.read import read_published
from mkt_search.display import count_noun
from mkt_search.errors import CalibrationError
from mkt_search.evaluation.labels import provenance_of
from mkt_search.evaluation.score_dataset import Loading, read_batches
from mkt_search.models.build import Model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.label_table import LabelTable
from mkt_search.models.views import encode_views
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.types import Encoded, PhotoVectors, Vector

MAX_PHOTOS = 3_000  # drawn from the labeled photos; more hardly change a calibrator
STEP = "encoding photos"

Pool = Callable[[Encoded, Sequence[int]], PhotoVectors]
"""Pools a batch, given how many views each photo has."""


def calibrate(
    model: Model,
    config: Config,
    stamp: Stamp,
    pool: Pool,
    label_vectors: Callable[[Sequence[str]], Vector],
    *,
    leave_out: Collection[str] = (),
    progress: ProgressCallback = no_progress,
) -> Calibrator:
    """Fit a calibrator for a model on the labeled photos of `[data]`.

    Labels that the model was not trained on are taken, if there are enough of them: on the others
    it scores higher than on any label that is new to it.

    Args:
        model: the model.
        config: `data`, how photos are read, and where the student runs.
        stamp: of the scores.
        pool: pools patches as the library does.
        label_vectors: encodes labels as the library does, to (L, D).
        leave_out: labels to keep for a test.
        progress: receives counts of photos, and remarks.

    Raises:
        CalibrationError: there are too few photos or labels.
        DatasetError: the photos or their labels cannot be read.
    """
    dataset = read_published(config.data, progress).dataset
    encoder = model.label_encoder()
    known = [
        label
        for label in dataset.labels
        if label not in leave_out and (not isinstance(encoder, LabelTable) or label in encoder)
    ]
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:MAX_PHOTOS])
    labels, remark = _choose(model, dataset.only(known), rows)
    progress(Progress(STEP, message=remark))
    chosen = dataset.only(labels)
    student = model.photo_encoder(
        device=config.model.device,
        dtype=config.model.dtype,
        patch_vectors=stamp.patch_vectors,
    )
    loading = Loading(config.evaluate.batch_size, config.evaluate.workers, config.index.max_pixels)
    labeled = _encode(student, chosen, rows, pool, loading, progress)
    return fit(labeled, labels, label_vectors(labels), stamp, made_from=remark)


def _choose(model: Model, dataset: PhotoDataset, rows: Rows) -> tuple[list[str], str]:
    """Return the labels to fit on, and a remark that says what they are."""
    shown = dataset.shown_by(rows)
    usable = [n for n, count in zip(dataset.labels, shown, strict=True) if count >= MIN_PHOTOS]
    provenance = provenance_of(model)
    trained = set(provenance.seen) if provenance else set()
    fresh = [label for label in usable if label not in trained]
    if len(fresh) >= FEWEST_LABELS:
        return fresh, f"calibrating on {count_noun(len(fresh), 'label')} never trained on"
    if not usable:
        raise CalibrationError(
            f"No label is on {MIN_PHOTOS} of the photos, or the model knows none of them. Name "
            "other photos with --photos and --labels."
        )
    remark = f"calibrating on {count_noun(len(usable), 'label')}"
    if trained:
        remark += ", most of them trained on: p of a label new to the model may be too high"
    return usable, remark


def _encode(
    student: PhotoEncoder,
    dataset: PhotoDataset,
    rows: Rows,
    pool: Pool,
    loading: Loading,
    progress: ProgressCallback,
) -> Labeled:
    vectors, counts, read = [], [], []
    done = 0
    progress(Progress(STEP, 0, len(rows)))
    for batch in read_batches(dataset, rows, student.spec, loading):
        done += batch.size
        if batch.photos:
            views = [len(photo) for photo in batch.photos]
            found = pool(encode_views(student, batch.photos), views)
            both = (found.global_vectors[:, None], found.local_vectors)
            vectors.append(np.concatenate(both, axis=1))
            counts.append(found.counts)
            read += batch.readable
        progress(Progress(STEP, done, len(rows), failed=done - len(read)))
    if not read:
        raise CalibrationError(f"None of the photos in {dataset.folder} can be read.")
    kept = np.array(read, np.int64)
    return Labeled(np.concatenate(vectors), np.concatenate(counts), dataset.targets[kept])
