"""Who learns from what: seen and unseen labels; train, validation and test photos.

Unseen labels never reach the loss: training gets the columns of the seen labels and no others.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import TrainingError
from training.data import PhotoDataset, read_json, read_text

Rows = NDArray[np.int64]
Validation = Literal["held-out", "test", "none"]
NAMES_SHOWN = 5  # labels or photos a message names before it stops


@dataclass(frozen=True)
class PhotoSplit:
    """Rows of a dataset: to learn from, to score after each epoch, to score at the end."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class LabelSplit:
    """The labels, each half sorted by name."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True)
class UsableLabels:
    """Labels sorted out by `usable_labels`: `names` are kept, the others left out and why."""

    names: tuple[str, ...]
    rare: tuple[str, ...]
    unknown: tuple[str, ...]

    def describe(self, min_photos: int) -> list[str]:
        """Return a sentence about each kind of label that was left out."""
        reasons = [
            (self.rare, f"fewer than {min_photos} training photos (--min-photos)"),
            (self.unknown, "no vector in the label table"),
        ]
        return [f"left out {counted(n)} with {why}: {some(n)}" for n, why in reasons if n]


def read_splits(file: Path, files: Sequence[str]) -> tuple[Rows, Rows]:
    """Return the train and test rows that a splits file gives the photos.

    The file is JSON {"a.jpg": "train", "b.jpg": "test"} or CSV with the header file,split. A photo
    given anything else (say "val") is left out; so is none: a photo it does not name is an error.
    """
    said = _read_csv_splits(file) if file.suffix.lower() == ".csv" else read_json(file)
    if not isinstance(said, dict):
        raise TrainingError(f'{file} must be one object, {{"a.jpg": "train", ...}}.')
    missing = [name for name in files if name not in said]
    if missing:
        raise TrainingError(
            f"{file} has no entry for {len(missing):,} labelled photos, the first is"
            f" {missing[0]!r}. Say train or test for each."
        )
    rows = {part: _rows(said[name] == part for name in files) for part in ("train", "test")}
    for part, found in rows.items():
        if not len(found):
            raise TrainingError(f'{file} gives no labelled photo to "{part}".')
    return rows["train"], rows["test"]


def draw_splits(count: int, *, test_fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Return train and test rows of `count` photos, drawn by the seed."""
    return _set_aside(np.arange(count), test_fraction, np.random.default_rng([seed, 1]), "test")


def split_photos(
    train: Rows, test: Rows, *, validation: Validation, fraction: float, seed: int
) -> PhotoSplit:
    """Return the split with its validation photos: held out of train, the test photos, or none."""
    if validation == "test":
        return PhotoSplit(train, test, test)
    if validation == "none":
        return PhotoSplit(train, train[:0], test)
    kept, held_out = _set_aside(train, fraction, np.random.default_rng([seed, 2]), "validation")
    return PhotoSplit(kept, held_out, test)


def usable_labels(
    dataset: PhotoDataset, train: Rows, *, min_photos: int, is_known: Callable[[str], bool]
) -> UsableLabels:
    """Sort out the labels shown by enough training photos and known to the label encoder.

    Args:
        dataset: the photos and all their labels.
        train: rows whose photos are counted.
        min_photos: fewest training photos a label needs.
        is_known: whether the label encoder has a vector for a label.

    Raises:
        TrainingError: fewer than two labels remain.
    """
    counts = (dataset.targets[train] > 0).sum(axis=0)
    names = np.array(dataset.labels)
    rare = tuple(str(name) for name in names[counts < min_photos])
    common = [str(name) for name in names[counts >= min_photos]]
    unknown = tuple(name for name in common if not is_known(name))
    usable = tuple(sorted(set(common) - set(unknown)))
    if len(usable) < 2:
        raise TrainingError(
            f"{len(usable)} of {len(names)} labels can be used: {len(rare)} have fewer than"
            f" {min_photos} training photos (lower --min-photos), {len(unknown)} have no vector in"
            " the label table (give another --label-table)."
        )
    return UsableLabels(usable, rare, unknown)


def draw_unseen(labels: Sequence[str], *, fraction: float, seed: int) -> LabelSplit:
    """Split sorted labels by the seed: a fraction, rounded down, is never trained on."""
    count = int(len(labels) * fraction + 1e-9)
    if not 0 <= fraction < 1:
        raise TrainingError(f"--unseen-fraction is {fraction}; it must lie in 0 to 1, 1 excluded.")
    chosen = np.random.default_rng(seed).choice(len(labels), count, replace=False)
    return _label_split(labels, {labels[i] for i in chosen})


def read_unseen(file: Path, labels: Sequence[str]) -> LabelSplit:
    """Split labels by a file that names those never trained on, one a line."""
    named = {line.strip() for line in read_text(file).splitlines() if line.strip()}
    strange = sorted(named - set(labels))
    if strange:
        raise TrainingError(
            f"{file} names {counted(strange)} not among the {len(labels)} usable ones:"
            f" {some(strange)}. Take them out, or lower --min-photos."
        )
    if named >= set(labels):
        raise TrainingError(f"{file} names every label; nothing is left to train on.")
    return _label_split(labels, named)


def _label_split(labels: Sequence[str], unseen: set[str]) -> LabelSplit:
    return LabelSplit(tuple(sorted(set(labels) - unseen)), tuple(sorted(unseen)))


def _set_aside(
    rows: Rows, fraction: float, rng: np.random.Generator, part: str
) -> tuple[Rows, Rows]:
    """Return the rows that stay and those set aside, both in their old order."""
    count = round(len(rows) * fraction)
    if not 0 < count < len(rows):
        raise TrainingError(
            f"--{part}-fraction {fraction} sets aside {count} of {len(rows)} photos; at least one"
            " must be set aside and one must stay."
        )
    chosen = np.zeros(len(rows), bool)
    chosen[rng.choice(len(rows), count, replace=False)] = True
    return rows[~chosen], rows[chosen]


def _read_csv_splits(file: Path) -> dict[str, Any]:
    rows = csv.DictReader(read_text(file).splitlines())
    if not {"file", "split"} <= set(rows.fieldnames or ()):
        raise TrainingError(f"{file}:1: expected the header file,split.")
    return {row["file"]: row["split"] for row in rows}


def _rows(chosen: Any) -> Rows:
    return np.flatnonzero(np.fromiter(chosen, bool)).astype(np.int64)


def counted(names: Sequence[str], noun: str = "label") -> str:
    """Return "1 label" or "1,234 labels"."""
    return f"{len(names):,} {noun}" + "s" * (len(names) != 1)


def some(names: Sequence[str]) -> str:
    """Return the first few names as text, and how many more there are."""
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
