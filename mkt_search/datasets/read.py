"""Read the dataset that the `[data]` settings name, and split its photos and labels.

A published split is kept unless the settings name another; whatever neither defines is drawn by
`split_seed`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mkt_search.datasets import coco, folder, nus_wide, open_images, split, voc
from mkt_search.datasets.dataset import STEP, PhotoDataset, Rows
from mkt_search.datasets.split import LabelSplit, PhotoSplit, PublishedDataset
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import DataConfig

LABELS_FILE = {  # of the kinds that need one: what --labels names
    "folder": "file that maps photos to labels",
    "coco": "instances file, or the folder with instances_train*.json and instances_val*.json",
}


@dataclass(frozen=True)
class SplitDataset:
    """Labeled photos with their splits. `dataset.labels` are the seen labels, then the unseen."""

    dataset: PhotoDataset
    photos: PhotoSplit
    labels: LabelSplit


def read(
    data: DataConfig,
    *,
    is_known: Callable[[str], bool] = lambda label: True,
    progress: ProgressCallback = no_progress,
) -> SplitDataset:
    """Read the dataset that the settings name and split it.

    Args:
        data: `[data]` of mkt.toml.
        is_known: returns True if a label has a vector; other labels are left out.
        progress: receives remarks about what is left out, and about labels without photos.

    Raises:
        DatasetError: a file or a setting is missing or does not fit; the text says which.
    """
    published = read_published(data, progress)
    photos = photo_split(data, published)
    _report_left_out(published.dataset, photos, progress)
    labels = _split_labels(data, published, photos, is_known, progress)
    if len(labels.seen) < 2:
        raise DatasetError(
            f"{count_noun(len(labels.seen), 'label')} left to train on, two are needed;"
            " name fewer in --unseen, or lower --unseen-fraction."
        )
    dataset = published.dataset.only((*labels.seen, *labels.unseen))
    _report_without_photos(dataset, photos, len(labels.seen), progress)
    return SplitDataset(dataset, photos, labels)


def read_published(data: DataConfig, progress: ProgressCallback = no_progress) -> PublishedDataset:
    """Read the dataset that the settings name as its files describe it, without drawing anything.

    Raises:
        DatasetError: a file or a setting is missing or malformed.
    """
    if not data.photos:
        raise DatasetError("--photos is missing; name the folder of the photos.")
    if data.kind in LABELS_FILE and not data.labels:
        raise DatasetError(f"--labels is missing; name the {LABELS_FILE[data.kind]}.")
    if data.kind in ("voc", "nus-wide") and data.labels:
        raise DatasetError(
            f"--kind {data.kind} reads its labels from the folder that --photos names; leave out"
            " --labels."
        )
    photos, labels = Path(data.photos), Path(data.labels)
    match data.kind:
        case "folder":
            return PublishedDataset(folder.read_dataset(photos, labels))
        case "coco":
            return coco.read_coco(photos, labels)
        case "voc":
            return voc.read_voc(photos)
        case "nus-wide":
            return nus_wide.read_nus_wide(photos, progress)
        case "open-images":
            folder_of_labels = labels if data.labels else photos
            return open_images.read_open_images(photos, folder_of_labels, progress)


def photo_split(data: DataConfig, published: PublishedDataset) -> PhotoSplit:
    """Return the split of photos: from the splits file, else the published one, else drawn.

    Raises:
        DatasetError: the settings do not fit the dataset.
    """
    seed, count = data.split_seed, len(published.dataset)
    if published.photos and not data.splits:
        return split.split_published(
            published.photos,
            validation=data.validation,
            fraction=data.validation_fraction,
            seed=seed,
        )
    if data.splits:
        train, test = split.read_splits(Path(data.splits), published.dataset.files)
    else:
        train, test = split.draw_splits(count, test_fraction=data.test_fraction, seed=seed)
    return split.split_photos(
        train, test, validation=data.validation, fraction=data.validation_fraction, seed=seed
    )


def _split_labels(
    data: DataConfig,
    published: PublishedDataset,
    photos: PhotoSplit,
    is_known: Callable[[str], bool],
    progress: ProgressCallback,
) -> LabelSplit:
    if published.labels and not data.unseen:
        own = published.labels
        labels = split.keep_known(own, is_known)
        unknown = sorted({*own.seen, *own.unseen} - {*labels.seen, *labels.unseen})
        if unknown:
            _remark(progress, split.left_out_sentence(unknown, split.WITHOUT_VECTOR))
        return labels
    usable = split.usable_labels(
        published.dataset, _trainable(photos), min_photos=data.min_photos, is_known=is_known
    )
    for sentence in usable.describe(data.min_photos):
        _remark(progress, sentence)
    if data.unseen:
        return split.read_unseen(Path(data.unseen), usable.names)
    return split.draw_unseen(usable.names, fraction=data.unseen_fraction, seed=data.split_seed)


def _trainable(photos: PhotoSplit) -> Rows:
    """Return the rows that training may use: all but the test photos."""
    return np.setdiff1d(np.union1d(photos.train, photos.validation), photos.test)


def _report_left_out(dataset: PhotoDataset, photos: PhotoSplit, progress: ProgressCallback) -> None:
    """Report the photos that a splits file assigns to neither train nor test."""
    rest = np.setdiff1d(np.arange(len(dataset)), np.concatenate(list(vars(photos).values())))
    if len(rest):
        names = [dataset.files[row] for row in rest]
        _remark(
            progress,
            f"left out {count_noun(len(names), 'photo')} that --splits assigns to neither train"
            f" nor test: {first_few(names)}",
        )


def _report_without_photos(
    dataset: PhotoDataset, photos: PhotoSplit, seen: int, progress: ProgressCallback
) -> None:
    """Report the seen labels without a training photo and the labels without a test photo."""
    parts = {"training": (_trainable(photos), seen), "test": (photos.test, len(dataset.labels))}
    for part, (rows, count) in parts.items():
        shown = dataset.shown_by(rows)
        names = [dataset.labels[i] for i in range(count) if not shown[i]]
        if names:
            labels = f"{count_noun(len(names), 'label')}: {first_few(names)}"
            _remark(progress, f"no {part} photo shows {labels}")


def _remark(progress: ProgressCallback, sentence: str) -> None:
    progress(Progress(STEP, message=sentence))
