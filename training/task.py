"""What a run learns: photos, labels and their vectors, put together from the settings."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.config import Stage1Config
from mkt_search.errors import TrainingError
from mkt_search.models.checkpoint import hash_file
from mkt_search.types import Vector
from training import label_vectors, split
from training.data import PhotoDataset, Targets, read_dataset
from training.label_vectors import LabelSpace
from training.split import LabelSplit, PhotoSplit, Rows

# settings that say where things are and how fast it goes, but not what comes out
WITHOUT_EFFECT = {
    *("photos", "labels", "splits", "unseen", "label_table", "backbone_weights"),
    *("cache", "workers", "device"),
}


@dataclass(frozen=True)
class Task:
    """What is learned. The labels of `dataset` are the seen ones, then the unseen ones.

    `vectors` (L, D) are those of the labels, in the same order.
    """

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


def load_task(config: Stage1Config, say: Callable[[str], None]) -> Task:
    """Read the data and draw the splits that the settings ask for.

    Raises:
        TrainingError: something is missing or does not fit; the text says what and where.
    """
    dataset = read_dataset(Path(config.photos), Path(config.labels))
    photos = _split_photos(config, dataset)
    space = _label_space(config)
    usable = split.usable_labels(
        dataset,
        np.setdiff1d(np.union1d(photos.train, photos.validation), photos.test),
        min_photos=config.min_photos,
        is_known=space.knows,
    )
    for sentence in usable.describe(config.min_photos):
        say(sentence)
    labels = _split_labels(config, usable.names)
    if len(labels.seen) < 2:
        raise TrainingError(
            f"{split.counted(labels.seen)} left to train on, two are needed; name fewer in"
            " --unseen, or lower --unseen-fraction."
        )
    names = (*labels.seen, *labels.unseen)
    task = Task(dataset.only(names), photos, labels, space, space.encoder.encode(names))
    say(task.describe(config.validation))
    return task


def settings_of(config: Stage1Config, task: Task) -> dict[str, Any]:
    """Return all that decides the result of a run, to know whether a stopped one may go on.

    Plain values, as they come back from JSON.
    """
    settings = {key: v for key, v in asdict(config).items() if key not in WITHOUT_EFFECT}
    settings = {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}
    weights = Path(config.backbone_weights) if config.backbone_weights else None
    return {
        **settings,
        "data": task.fingerprint,
        "label vectors": task.space.encoder.fingerprint,
        "backbone weights": hash_file(weights)[:12] if weights and weights.is_file() else "",
    }


def _split_photos(config: Stage1Config, dataset: PhotoDataset) -> PhotoSplit:
    seed = config.split_seed
    if config.splits:
        train, test = split.read_splits(Path(config.splits), dataset.files)
    else:
        train, test = split.draw_splits(len(dataset), test_fraction=config.test_fraction, seed=seed)
    return split.split_photos(
        train, test, validation=config.validation, fraction=config.validation_fraction, seed=seed
    )


def _label_space(config: Stage1Config) -> LabelSpace:
    if config.text_model:
        return label_vectors.from_text_model(config.text_model)
    return label_vectors.from_table(
        Path(config.label_table),
        config.label_transform,
        power=config.whiten_power,
        shrink=config.whiten_shrink,
    )


def _split_labels(config: Stage1Config, usable: tuple[str, ...]) -> LabelSplit:
    if config.unseen:
        return split.read_unseen(Path(config.unseen), usable)
    return split.draw_unseen(usable, fraction=config.unseen_fraction, seed=config.split_seed)
