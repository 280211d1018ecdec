"""Calibrate a model on labeled photos, pooled as a library stores them."""

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator, Stamp
from mkt_search.calibration.fit import FEWEST_LABELS, FEWEST_PHOTOS, Labeled, fit
from mkt_search.calibration.quality import MIN_PHOTOS
from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.datasets.read import read_published
from mkt_search.display import count_noun
from mkt_search.errors import CalibrationError
from mkt_search.evaluation.labels import provenance_of
from mkt_search.evaluation.pooled import Pool, pooled_batches
from mkt_search.evaluation.score_dataset import Loading
from mkt_search.evaluation.tag_truth import Ancestors, TagTruth
from mkt_search.models.build import Model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.label_table import LabelTable
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.spelling import label_key
from mkt_search.store.interfaces import Snapshot
from mkt_search.types import Vector

MAX_PHOTOS = 3_000  # drawn from the labeled photos; more hardly change a calibrator
STEP = "encoding photos"


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
    known = dataset.only(_known(model, dataset.labels, leave_out))
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset))[:MAX_PHOTOS])
    usable = _often(known.labels, known.shown_by(rows))
    if not usable:
        raise CalibrationError(
            f"No label is on {MIN_PHOTOS} of the photos, or the model knows none of them. Name "
            "other photos with --photos and --labels."
        )
    labels, remark = _choose(model, usable)
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


def calibrate_on_tags(
    model: Model,
    stamp: Stamp,
    snapshot: Snapshot,
    words: Iterable[tuple[int, str, bool]],
    label_vectors: Callable[[Sequence[str]], Vector],
    *,
    ancestors: Ancestors,
    leave_out: Collection[str] = (),
    progress: ProgressCallback = no_progress,
) -> Calibrator:
    """Fit a calibrator on what a person said of the photos of a library; no photo is read.

    `tag_truth` says what is known of which photo.

    Args:
        model: the model.
        stamp: of the scores.
        snapshot: the vectors of the library.
        words: content ids, labels, and whether they were set or removed.
        label_vectors: encodes labels as the library does, to (L, D).
        ancestors: the parents of a label, which a photo with the label shows too.
        leave_out: labels to keep for a test.
        progress: receives remarks.

    Raises:
        CalibrationError: there are too few tagged photos or labels.
    """
    truth = TagTruth.of(words, ancestors)
    live = snapshot.content_ids(np.array(truth.photos, np.int64))
    drawn = np.random.default_rng(0).permutation(np.sort(live))[:MAX_PHOTOS]
    content_ids = snapshot.content_ids(drawn)
    known = _known(model, truth.labels, leave_out)
    shown = (truth.targets(content_ids.tolist(), known) > 0).sum(axis=0)
    usable = _often(known, shown)
    if len(content_ids) < FEWEST_PHOTOS or len(usable) < FEWEST_LABELS:
        raise CalibrationError(
            f"The tags that you set or imported are too few to calibrate on: they are on "
            f"{count_noun(len(content_ids), 'photo')} ({FEWEST_PHOTOS} are needed), and "
            f"{count_noun(len(usable), 'label')} that the model knows "
            f"{'is' if len(usable) == 1 else 'are'} on at least {MIN_PHOTOS} of them "
            f"({FEWEST_LABELS} are needed). Set more with `mkt tag PHOTO --add LABEL`, or name "
            "labeled photos with --photos and --labels."
        )
    labels, remark = _choose(model, usable)
    progress(Progress(STEP, message=remark))
    vectors, counts = snapshot.vectors(content_ids)
    labeled = Labeled(vectors, counts, truth.targets(content_ids.tolist(), labels))
    return fit(labeled, labels, label_vectors(labels), stamp, made_from=f"{remark}, of its tags")


def _known(model: Model, labels: Sequence[str], leave_out: Collection[str]) -> list[str]:
    """Return the labels that a model knows, without those to leave out."""
    encoder, left_out = model.label_encoder(), set(map(label_key, leave_out))
    return [
        label
        for label in labels
        if label_key(label) not in left_out
        and (not isinstance(encoder, LabelTable) or label in encoder)
    ]


def _often(labels: Sequence[str], shown: NDArray[np.int64]) -> list[str]:
    """Return the labels that `MIN_PHOTOS` photos or more show; shown (L,) counts them."""
    return [label for label, count in zip(labels, shown, strict=True) if count >= MIN_PHOTOS]


def _choose(model: Model, usable: Sequence[str]) -> tuple[list[str], str]:
    """Return which of some labels to fit on, and a remark that says what they are."""
    provenance = provenance_of(model)
    trained = set(provenance.seen) if provenance else set()
    fresh = [label for label in usable if label not in trained]
    if len(fresh) >= FEWEST_LABELS:
        return fresh, f"calibrating on {count_noun(len(fresh), 'label')} never trained on"
    remark = f"calibrating on {count_noun(len(usable), 'label')}"
    if trained:
        remark += ", most of them trained on: p of a label new to the model may be too high"
    return list(usable), remark


def _encode(
    student: PhotoEncoder,
    dataset: PhotoDataset,
    rows: Rows,
    pool: Pool,
    loading: Loading,
    progress: ProgressCallback,
) -> Labeled:
    vectors, counts, read = [], [], []
    batches = pooled_batches(student, dataset, rows, pool, loading, step=STEP, progress=progress)
    for batch_rows, photos in batches:
        vectors.append(
            np.concatenate([photos.global_vectors[:, None], photos.local_vectors], axis=1)
        )
        counts.append(photos.counts)
        read += batch_rows
    if not read:
        raise CalibrationError(f"None of the photos in {dataset.folder} can be read.")
    kept = np.array(read, np.int64)
    return Labeled(np.concatenate(vectors), np.concatenate(counts), dataset.targets[kept])
