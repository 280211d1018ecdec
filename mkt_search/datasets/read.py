"""From the settings to labelled photos, split: which learn, which are scored, which labels are new.

The settings are `[data]` of mkt.toml. A dataset that comes with splits of its own keeps them, but
for what the settings name; anything else is drawn by the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mkt_search.datasets import coco, folder, nus_wide, open_images, split, voc
from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.datasets.split import LabelSplit, PhotoSplit, Published
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError
from mkt_search.settings.config import DataConfig

Say = Callable[[str], None]


@dataclass(frozen=True)
class Labelled:
    """Labelled photos, split. The labels of `dataset` are the seen ones, then the unseen ones."""

    dataset: PhotoDataset
    photos: PhotoSplit
    labels: LabelSplit


def read(
    data: DataConfig,
    *,
    is_known: Callable[[str], bool] = lambda label: True,
    say: Say = lambda sentence: None,
) -> Labelled:
    """Read the dataset that the settings name and split it as they ask.

    Args:
        data: `[data]` of mkt.toml.
        is_known: whether a label has a vector; the others are left out.
        say: hears in sentences what is left out, and which labels no photo shows.

    Raises:
        DatasetError: something is missing or does not fit; the text says what and where.
    """
    found = read_published(data, say)
    photos = photo_split(data, found)
    _say_left_out(found.dataset, photos, say)
    labels = _split_labels(data, found, photos, is_known, say)
    if len(labels.seen) < 2:
        raise DatasetError(
            f"{count_noun(len(labels.seen), 'label')} left to train on, two are needed; name"
            " fewer in --unseen, or"
            " lower --unseen-fraction."
        )
    dataset = found.dataset.only((*labels.seen, *labels.unseen))
    _say_not_shown(dataset, photos, len(labels.seen), say)
    return Labelled(dataset, photos, labels)


def read_published(data: DataConfig, say: Say = lambda sentence: None) -> Published:
    """Read the dataset that the settings name as its files describe it, nothing drawn.

    Raises:
        DatasetError: a file is missing or cannot be understood, or a setting is.
    """
    if not data.photos:
        raise DatasetError("--photos is missing; name the folder of the photos.")
    if data.kind in WITH_LABELS and not data.labels:
        raise DatasetError(f"--labels is missing; name the {WITH_LABELS[data.kind]}.")
    if data.kind in ("voc", "nus-wide") and data.labels:
        raise DatasetError(
            f"--kind {data.kind} has its labels in the folder that --photos names; leave out"
            " --labels."
        )
    photos, labels = Path(data.photos), Path(data.labels)
    match data.kind:
        case "folder":
            return Published(folder.read_dataset(photos, labels))
        case "coco":
            return coco.read_coco(photos, labels)
        case "voc":
            return voc.read_voc(photos)
        case "nus-wide":
            return nus_wide.read_nus_wide(photos, say)
        case "open-images":
            return open_images.read_open_images(photos, labels if data.labels else photos, say)


def photo_split(data: DataConfig, found: Published) -> PhotoSplit:
    """Return who learns and who is scored: by a splits file, the dataset's own, or drawn.

    Raises:
        DatasetError: the settings do not allow it.
    """
    seed, count = data.split_seed, len(found.dataset)
    if found.photos and not data.splits:
        return split.split_published(
            found.photos, validation=data.validation, fraction=data.validation_fraction, seed=seed
        )
    if data.splits:
        train, test = split.read_splits(Path(data.splits), found.dataset.files)
    else:
        train, test = split.draw_splits(count, test_fraction=data.test_fraction, seed=seed)
    return split.split_photos(
        train, test, validation=data.validation, fraction=data.validation_fraction, seed=seed
    )


def _split_labels(
    data: DataConfig,
    found: Published,
    photos: PhotoSplit,
    is_known: Callable[[str], bool],
    say: Say,
) -> LabelSplit:
    if found.labels and not data.unseen:
        labels = split.keep_known(found.labels, is_known)
        lost = sorted({*found.labels.seen, *found.labels.unseen} - {*labels.seen, *labels.unseen})
        if lost:
            say(split.left_out(lost, split.WITHOUT_VECTOR))
        return labels
    usable = split.usable_labels(
        found.dataset, _learning(photos), min_photos=data.min_photos, is_known=is_known
    )
    for sentence in usable.describe(data.min_photos):
        say(sentence)
    if data.unseen:
        return split.read_unseen(Path(data.unseen), usable.names)
    return split.draw_unseen(usable.names, fraction=data.unseen_fraction, seed=data.split_seed)


def _learning(photos: PhotoSplit) -> Rows:
    """Rows that training may look at: what the final test is made of is not among them."""
    return np.setdiff1d(np.union1d(photos.train, photos.validation), photos.test)


def _say_left_out(dataset: PhotoDataset, photos: PhotoSplit, say: Say) -> None:
    """Tell which photos a splits file gives neither to learn from nor to test."""
    rest = np.setdiff1d(np.arange(len(dataset)), np.concatenate(list(vars(photos).values())))
    if len(rest):
        names = [dataset.files[row] for row in rest]
        say(
            f"left out {count_noun(len(names), 'photo')} that --splits gives neither to train"
            f" nor to test: {first_few(names)}"
        )


def _say_not_shown(dataset: PhotoDataset, photos: PhotoSplit, seen: int, say: Say) -> None:
    """Tell which seen labels no training photo shows, and which labels no test photo shows."""
    parts = {"training": (_learning(photos), seen), "test": (photos.test, len(dataset.labels))}
    for part, (rows, count) in parts.items():
        shown = dataset.shown_by(rows)
        names = [dataset.labels[i] for i in range(count) if not shown[i]]
        if names:
            say(f"no {part} photo shows {count_noun(len(names), 'label')}: {first_few(names)}")


WITH_LABELS = {
    "folder": "file that maps photos to labels",
    "coco": "instances file, or the folder with instances_train*.json and instances_val*.json",
}
