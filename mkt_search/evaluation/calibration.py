"""Measure probabilities on labeled photos, by labels that neither model nor calibrator saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.baselines import compare
from mkt_search.calibration.calibrator import Calibrator, Reference
from mkt_search.calibration.fit import FEWEST_LABELS, FEWEST_PHOTOS
from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.datasets.read import read_published
from mkt_search.display import count_noun, first_few
from mkt_search.errors import EvaluationError
from mkt_search.evaluation.calibration_report import CalibrationEntry, CalibrationReport
from mkt_search.evaluation.evaluate import name_of, titles
from mkt_search.evaluation.labels import Only, provenance_of, select_rows, split_by_file
from mkt_search.evaluation.pooled import pooled_batches
from mkt_search.evaluation.score_dataset import Loading
from mkt_search.models.build import Model
from mkt_search.models.label_file import read_label_file
from mkt_search.models.label_table import LabelTable
from mkt_search.pooling.pool import pool
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.scoring import score
from mkt_search.settings.config import Config
from mkt_search.spelling import label_key
from mkt_search.types import Vector

STEP = "selecting photos and labels"
TRAINED, FITTED = "that a model was trained on", "that a calibrator was fitted on"
UNKNOWN = "with no vector in a label table"
SAME = 0.02
"""Two vectors are of the same photo if they differ by less than this share; int8 costs 0.01."""


@dataclass(frozen=True)
class Calibrated:
    """A model with its calibrator."""

    model: Model
    calibrator: Calibrator


def evaluate_calibration(
    models: Sequence[Calibrated],
    config: Config,
    *,
    only: Only = "test",
    progress: ProgressCallback = no_progress,
) -> CalibrationReport:
    """Measure probabilities on the labeled photos of `[data]`, beside simpler ways to choose.

    The labels are those that no model was trained on and no calibrator fitted on; with
    `data.unseen`, those of that file. Photos are pooled as each calibrator knows them.

    Args:
        models: at least one, each with a calibrator of its own scores.
        config: `data` and `evaluate`; `model` has the device and number format.
        only: the `test` photos, the `train` photos, or `all`.
        progress: receives counts of photos, the model as the step; remarks are kept as `notes`.

    Raises:
        DatasetError: the photos or their labels cannot be read or split.
        EvaluationError: there are too few photos, or too few labels that nothing was fitted on.
        CalibrationError: a score is not finite.
    """
    made_at = datetime.now(UTC).replace(tzinfo=None)
    notes: list[str] = []

    def noted(event: Progress) -> None:
        if event.message:
            notes.append(event.message)
        progress(event)

    published = read_published(config.data, noted)
    known = [found for each in models if (found := provenance_of(each.model))]
    _, rows = select_rows(config.data, published, known, only=only, progress=noted)
    if len(rows) < FEWEST_PHOTOS:
        raise EvaluationError(
            f"{count_noun(len(rows), 'photo')} ({only}) are too few to measure probabilities on:"
            f" {FEWEST_PHOTOS:,} are needed. Use --only all, or name more with --photos."
        )
    dataset = published.dataset.only(
        _fresh_labels(published.dataset, rows, models, config.data.unseen, noted)
    )
    entries = []
    readable = rows
    for each, title in zip(models, titles([each.model for each in models]), strict=True):
        readable, scores, vectors = _scores(each, dataset, rows, config, title, noted)
        statistics = each.calibrator.statistics(vectors)
        methods = compare(
            each.calibrator.baselines,
            each.calibrator.probabilities(scores, statistics),
            scores,
            dataset.targets[readable],
            present_from=each.calibrator.present_from,
        )
        fingerprint, made_from = each.model.fingerprint, each.calibrator.made_from
        entries.append(CalibrationEntry(title, fingerprint, made_from, methods))
    report = CalibrationReport(
        dataset=name_of(dataset.folder),
        photos=len(readable),
        unreadable=len(rows) - len(readable),
        labels=dataset.labels,
        entries=tuple(entries),
        made_at=made_at,
    )
    for sentence in report.chance():
        noted(Progress(STEP, message=sentence))
    return replace(report, notes=tuple(notes))


def _fresh_labels(
    dataset: PhotoDataset,
    rows: Rows,
    models: Sequence[Calibrated],
    unseen: str,
    progress: ProgressCallback,
) -> list[str]:
    """Return the labels to test with, and report those left out.

    Some of the photos show them, others do not, and nothing was fitted on them.

    Raises:
        EvaluationError: there are too few.
    """
    labels = split_by_file(Path(unseen), dataset.labels).unseen if unseen else dataset.labels
    encoders = [each.model.label_encoder() for each in models]
    tables = [encoder for encoder in encoders if isinstance(encoder, LabelTable)]
    trained = {
        label_key(label)
        for each in models
        if (provenance := provenance_of(each.model))
        for label in provenance.seen
    }
    fitted = {label_key(label) for each in models for label in each.calibrator.labels}
    targets = dataset.only(labels).targets[rows]
    is_shown, is_not = (targets > 0).any(axis=0), (targets < 0).any(axis=0)
    fresh: list[str] = []
    left_out: dict[str, list[str]] = {TRAINED: [], FITTED: [], UNKNOWN: []}
    for label in (labels[column] for column in np.flatnonzero(is_shown & is_not)):
        if label_key(label) in trained:
            left_out[TRAINED].append(label)
        elif label_key(label) in fitted:
            left_out[FITTED].append(label)
        elif not all(label in table for table in tables):
            left_out[UNKNOWN].append(label)
        else:
            fresh.append(label)
    sentences = [
        f"left out {count_noun(len(those), 'label')} {why}: {first_few(those)}"
        for why, those in left_out.items()
        if those
    ]
    for sentence in sentences:
        progress(Progress(STEP, message=sentence))
    if len(fresh) < FEWEST_LABELS:
        raise EvaluationError(
            f"{count_noun(len(fresh), 'label')} that neither model nor calibrator saw"
            f" {'is' if len(fresh) == 1 else 'are'} too few to measure probabilities on:"
            f" {FEWEST_LABELS} are needed that some photos show and others do not. Name photos with"
            " other labels, or keep some back with `mkt calibrate --leave-out FILE`."
        )
    return fresh


def _scores(
    each: Calibrated,
    dataset: PhotoDataset,
    rows: Rows,
    config: Config,
    title: str,
    progress: ProgressCallback,
) -> tuple[Rows, Vector, Vector]:
    """Return the rows that could be read, their fused scores (n, L), and the label vectors."""
    model, stamp = each.model, each.calibrator.stamp
    encoding = stamp.encoding(model.dim, model.grid)
    student = model.photo_encoder(
        device=config.model.device, dtype=config.model.dtype, patch_vectors=stamp.patch_vectors
    )
    encoder = model.label_encoder(config.model.templates)
    vectors = read_label_file(config.model.label_file).vectors(dataset.labels, encoder.encode)
    loading = Loading(config.evaluate.batch_size, config.evaluate.workers, config.index.max_pixels)
    parts, read = [], []
    again = np.zeros(len(each.calibrator.reference), np.bool_)
    batches = pooled_batches(
        student,
        dataset,
        rows,
        lambda encoded, views: pool(encoded, encoding, views=views),
        loading,
        step=title,
        progress=progress,
    )
    for batch_rows, photos in batches:
        found = score(
            vectors, photos.global_vectors, photos.local_vectors, photos.counts, k=stamp.top_k
        )
        parts.append(found.fused)
        read += batch_rows
        both = np.concatenate([photos.global_vectors[:, None], photos.local_vectors], axis=1)
        again |= _are_among(each.calibrator.reference, both)
    if not read:
        raise EvaluationError(
            f"none of the {len(rows):,} photos in {dataset.folder} can be read, so there is nothing"
            " to measure."
        )
    if again.any():
        sentence = (
            f"{title}: {again.sum():,} of the {len(again):,} reference photos of the calibrator are"
            " among these photos: it was fitted on some of them, so that its figures may be too"
            " good"
        )
        progress(Progress(STEP, message=sentence))
    return np.array(read, np.int64), np.concatenate(parts), vectors


def _are_among(reference: Reference, photos: Vector) -> NDArray[np.bool_]:
    """Return (R,): which reference photos are among photos (n, 1 + m, D), but for rounding."""
    own = reference.vectors.reshape(len(reference), -1)
    others = photos.reshape(len(photos), -1)
    lengths = (own**2).sum(axis=1)
    distances = lengths[:, None] + (others**2).sum(axis=1) - 2 * own @ others.T
    found: NDArray[np.bool_] = distances.min(axis=1) < SAME**2 * lengths
    return found
