"""What a run learns from: photos, labels and label vectors, split into seen and unseen labels."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows, Targets
from mkt_search.datasets.read import read
from mkt_search.datasets.split import LabelSplit, PhotoSplit
from mkt_search.display import count_noun, first_few
from mkt_search.errors import TrainingError
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.settings.config import DataConfig
from mkt_search.types import Vector
from training.data.label_vectors import LabelSpace
from training.runs.state import Run

STEP = "data"  # the name of this work in progress events


@dataclass(frozen=True)
class Task:
    """Labeled photos and label vectors.

    Args:
        dataset: its labels are the seen ones, then the unseen ones.
        photos: rows to train on, to validate on after each epoch, and to test on.
        labels: the seen and the unseen labels.
        space: the label encoder.
        vectors: (L, D), the label vectors in the order of the dataset's labels.
    """

    dataset: PhotoDataset
    photos: PhotoSplit
    labels: LabelSplit
    space: LabelSpace
    vectors: Vector

    @property
    def seen(self) -> int:
        """The number of seen labels."""
        return len(self.labels.seen)

    @property
    def seen_targets(self) -> Targets:
        """(N, seen): all that training may know of the targets."""
        return self.dataset.targets[:, : self.seen]

    @property
    def trainable(self) -> Rows:
        """Rows of the training photos that show a seen label; the others have no loss."""
        train = self.photos.train
        return train[(self.seen_targets[train] > 0).any(axis=1)]

    def files(self, rows: Rows) -> list[str]:
        """Return the file names of some photos."""
        return [self.dataset.files[row] for row in rows]

    @property
    def fingerprint(self) -> str:
        """12 hex digits over the photos' names, the labels, the targets and the splits."""
        names = [self.dataset.files, self.dataset.labels, self.seen]
        digest = hashlib.sha256(json.dumps(names).encode())
        for part in (self.dataset.targets, *vars(self.photos).values()):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:12]

    def describe(self, validation: str) -> str:
        """Return one line of counts; `validation` names the kind of validation photos."""
        count = {part: f"{len(rows):,}" for part, rows in vars(self.photos).items()}
        return (
            f"{count['train']} training photos, {count['validation']} validation photos"
            f" ({validation}), {count['test']} test photos; {self.seen} seen labels,"
            f" {len(self.labels.unseen)} unseen"
        )


def read_task(data: DataConfig, space: LabelSpace, progress: ProgressCallback) -> Task:
    """Read the labeled photos, split them, and encode their labels as `space` does now.

    Raises:
        MktError: a file is missing or does not fit; the text says which and why.
        TrainingError: no training photo shows a seen label.
    """
    say = remarks(progress, STEP)
    found = read(data, is_known=space.knows, progress=progress)
    vectors = space.encoder.encode(found.dataset.labels)
    task = Task(found.dataset, found.photos, found.labels, space, vectors)
    say(task.describe(data.validation))
    require_positives(task, progress)
    return task


def task_provenance(task: Task, run: Run) -> dict[str, Any]:
    """Return what `meta.json` records of a run's settings, photos and labels, as plain values."""
    return {
        "settings": dict(run.settings),
        "photos": {part: len(rows) for part, rows in vars(task.photos).items()},
        "seen": list(task.labels.seen),
        "unseen": list(task.labels.unseen),
    }


def remarks(progress: ProgressCallback, step: str) -> Callable[[str], None]:
    """Return a function that reports a sentence as a remark on a step."""
    return lambda sentence: progress(Progress(step, message=sentence))


def report_unreadable(task: Task, rows: Rows, progress: ProgressCallback) -> None:
    """Report the photos that are left out because they cannot be read, if there are any."""
    names = task.files(rows)
    if names:
        remarks(progress, STEP)(
            f"left out {count_noun(len(names), 'photo')} that cannot be read: {first_few(names)}"
        )


def require_positives(task: Task, progress: ProgressCallback) -> None:
    """Report the seen labels that no training photo shows.

    Raises:
        TrainingError: no training photo shows any.
    """
    if not len(task.trainable):
        raise TrainingError(
            "no training photo shows a seen label, so there is nothing to learn from. Give other"
            " --labels or --splits, or name fewer labels in --unseen."
        )
    shown = np.any(task.seen_targets[task.trainable] > 0, axis=0)  # (seen,)
    names = [task.labels.seen[column] for column in np.flatnonzero(~shown)]
    if names:
        remarks(progress, STEP)(
            f"no training photo shows {count_noun(len(names), 'label')}: {first_few(names)}."
            " Without a positive, a label is only learned to be absent"
        )
