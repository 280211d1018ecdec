"""What a run learns: photos, labels and their vectors, put together from the settings."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows, Targets
from mkt_search.datasets.read import read
from mkt_search.datasets.split import LabelSplit, PhotoSplit
from mkt_search.models.checkpoint import hash_file
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from mkt_search.types import Vector
from training.data import label_vectors
from training.data.label_vectors import LabelSpace
from training.plans import TEACHER

# settings that say where things are and how fast it goes, but not what comes out
WITHOUT_EFFECT = {
    *("kind", "photos", "labels", "splits", "unseen", "label_table", "backbone_weights"),
    *("teacher", "cache", "workers", "device", "labels_at_once"),
}


@dataclass(frozen=True)
class Task:
    """What is learned. The labels of `dataset` are the seen ones, then the unseen ones.

    `vectors` (L, D) are those of the labels, in the same order.
    """

    data: DataConfig
    dataset: PhotoDataset
    photos: PhotoSplit
    labels: LabelSplit
    space: LabelSpace
    vectors: Vector

    @property
    def seen(self) -> int:
        """How many labels are seen."""
        return len(self.labels.seen)

    @property
    def seen_targets(self) -> Targets:
        """(N, seen): all that training may know of the targets."""
        return self.dataset.targets[:, : self.seen]

    @property
    def learnable(self) -> Rows:
        """Rows of the training photos that show a seen label; the others teach nothing."""
        train = self.photos.train
        return train[(self.seen_targets[train] > 0).any(axis=1)]

    def files(self, rows: Rows) -> list[str]:
        """Return the names of some photos."""
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
        """Return in one line who learns and who is scored; `validation` says on which photos."""
        count = {part: f"{len(rows):,}" for part, rows in vars(self.photos).items()}
        return (
            f"{count['train']} photos to learn from, {count['validation']} to validate on"
            f" ({validation}), {count['test']} to test; {self.seen} seen labels,"
            f" {len(self.labels.unseen)} unseen"
        )


def load_task(data: DataConfig, config: Stage1Config, say: Callable[[str], None]) -> Task:
    """Read the data and draw the splits that the settings ask for.

    Raises:
        MktError: something is missing or does not fit; the text says what and where.
    """
    return read_task(data, _label_space(config), say)


def read_task(data: DataConfig, space: LabelSpace, say: Callable[[str], None]) -> Task:
    """Read the data and split it; the labels' vectors are those that `space` gives them now.

    Raises:
        MktError: something is missing or does not fit; the text says what and where.
    """
    found = read(data, is_known=space.knows, progress=lambda event: say(event.message))
    vectors = space.encoder.encode(found.dataset.labels)
    task = Task(data, found.dataset, found.photos, found.labels, space, vectors)
    say(task.describe(data.validation))
    return task


def plain_settings(data: DataConfig, config: Stage1Config | Stage2Config) -> dict[str, Any]:
    """Return the settings that decide what comes out, as plain values."""
    settings = {**asdict(data), **asdict(config)}
    settings = {key: v for key, v in settings.items() if key not in WITHOUT_EFFECT}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}


def settings_of(config: Stage1Config, task: Task, *, teacher: str = "") -> dict[str, Any]:
    """Return all that decides the result of a run, to know whether a stopped one may go on.

    Plain values, as they come back from JSON. `teacher` is the fingerprint of the one that is used.
    """
    return {
        **plain_settings(task.data, config),
        "data": task.fingerprint,
        "label vectors": task.space.encoder.fingerprint,
        "teacher weights": teacher,
        "backbone weights": _backbone_weights(config, teacher),
    }


def _backbone_weights(config: Stage1Config, teacher: str) -> str:
    if config.backbone_weights == TEACHER:
        return teacher
    weights = Path(config.backbone_weights) if config.backbone_weights else None
    return hash_file(weights)[:12] if weights and weights.is_file() else ""


def _label_space(config: Stage1Config) -> LabelSpace:
    if config.text_model:
        return label_vectors.from_text_model(config.text_model)
    return label_vectors.from_table(
        Path(config.label_table),
        config.label_transform,
        power=config.whiten_power,
        shrink=config.whiten_shrink,
    )
