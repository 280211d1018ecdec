"""Who learns from what: seen and unseen labels; train, validation and test photos.

Unseen labels never reach the loss: training gets the columns of the seen labels and no others.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.datasets.files import read_json, read_text
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError

Validation = Literal["held-out", "test", "none"]
WITHOUT_VECTOR = "no vector in the label table"


@dataclass(frozen=True)
class PhotoSplit:
    """Rows of a dataset: to learn from, to score after each epoch, to score at the end."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class LabelSplit:
    """The labels; drawn halves are sorted by name, a dataset's own are in its order."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A dataset as its files describe it, with the splits they define; None where they do not.

    Its own unseen labels are all kept, also those that no photo shows: a published figure is a
    mean over all of them.
    """

    dataset: PhotoDataset
    photos: PhotoSplit | None = None
    labels: LabelSplit | None = None


@dataclass(frozen=True)
class UsableLabels:
    """Labels sorted out by `usable_labels`: `names` are kept, the others left out and why."""

    names: tuple[str, ...]
    never: tuple[str, ...]
    rare: tuple[str, ...]
    unknown: tuple[str, ...]

    def describe(self, min_photos: int) -> list[str]:
        """Return a sentence about each kind of label that was left out."""
        reasons = [
            (self.never, "no training photo"),
            (self.rare, f"fewer than {min_photos} training photos (--min-photos)"),
            (self.unknown, WITHOUT_VECTOR),
        ]
        return [left_out(names, why) for names, why in reasons if names]


def read_splits(file: Path, files: Sequence[str]) -> tuple[Rows, Rows]:
    """Return the train and test rows that a splits file gives the photos.

    The file is JSON {"a.jpg": "train", "b.jpg": "test"} or CSV with the header file,split. A photo
    given anything else (say "val") is left out; so is none: a photo it does not name is an error.
    """
    said = _read_csv_splits(file) if file.suffix.lower() == ".csv" else read_json(file)
    if not isinstance(said, dict):
        raise DatasetError(f'{file} must be one object, {{"a.jpg": "train", ...}}.')
    missing = [name for name in files if name not in said]
    if missing:
        raise DatasetError(
            f"{file} has no entry for {len(missing):,} labelled photos, the first is"
            f" {missing[0]!r}. Say train or test for each."
        )
    rows = {part: _rows(said[name] == part for name in files) for part in ("train", "test")}
    for part, found in rows.items():
        if not len(found):
            raise DatasetError(f'{file} gives no labelled photo to "{part}".')
    return rows["train"], rows["test"]


def draw_splits(count: int, *, test_fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Return train and test rows of `count` photos, drawn by the seed."""
    return _set_aside(np.arange(count), test_fraction, np.random.default_rng([seed, 1]), "test")


def split_photos(
    train: Rows, test: Rows, *, validation: Validation, fraction: float, seed: int
) -> PhotoSplit:
    """Return the split with its validation photos: held out of train, the test photos, or none."""
    if validation == "held-out":
        kept, held_out = _set_aside(train, fraction, np.random.default_rng([seed, 2]), "validation")
        return PhotoSplit(kept, held_out, test)
    return PhotoSplit(train, test if validation == "test" else train[:0], test)


def split_published(
    given: PhotoSplit, *, validation: Validation, fraction: float, seed: int
) -> PhotoSplit:
    """Return a dataset's own split; its validation photos, if any, are those held out of train."""
    if validation == "held-out" and len(given.validation):
        return given
    train = np.union1d(given.train, given.validation)
    return split_photos(train, given.test, validation=validation, fraction=fraction, seed=seed)


def usable_labels(
    dataset: PhotoDataset, train: Rows, *, min_photos: int, is_known: Callable[[str], bool]
) -> UsableLabels:
    """Sort out the labels shown by enough training photos and known to the label encoder.

    Args:
        dataset: the photos and all their labels.
        train: rows whose photos are counted.
        min_photos: fewest training photos a label needs, at least 1.
        is_known: whether the label encoder has a vector for a label.

    Raises:
        DatasetError: fewer than two labels remain.
    """
    counts = dataset.shown_by(train)
    names = np.array(dataset.labels)
    never = tuple(names[counts == 0].tolist())
    rare = tuple(names[(counts > 0) & (counts < min_photos)].tolist())
    common = names[counts >= min_photos].tolist()
    unknown = tuple(name for name in common if not is_known(name))
    usable = tuple(sorted(set(common) - set(unknown)))
    if len(usable) < 2:
        few = len(never) + len(rare)
        raise DatasetError(
            f"{len(usable)} of {len(names)} labels can be used: {few} have fewer than {min_photos}"
            f" training photos (lower --min-photos), {len(unknown)} have no vector in the label"
            " table (give another --label-table)."
        )
    return UsableLabels(usable, never, rare, unknown)


def keep_known(given: LabelSplit, is_known: Callable[[str], bool]) -> LabelSplit:
    """Return the labels a dataset defines as seen and unseen, without those that have no vector."""
    return LabelSplit(
        tuple(filter(is_known, given.seen)),
        tuple(filter(is_known, given.unseen)),
    )


def draw_unseen(labels: Sequence[str], *, fraction: float, seed: int) -> LabelSplit:
    """Split sorted labels by the seed: a fraction, rounded down, is never trained on."""
    count = int(len(labels) * fraction + 1e-9)
    if not 0 <= fraction < 1:
        raise DatasetError(f"--unseen-fraction is {fraction}; it must lie in 0 to 1, 1 excluded.")
    chosen = np.random.default_rng(seed).choice(len(labels), count, replace=False)
    return _label_split(labels, {labels[i] for i in chosen})


def read_unseen(file: Path, labels: Sequence[str]) -> LabelSplit:
    """Split labels by a file that names those never trained on, one a line."""
    named = {line.strip() for line in read_text(file).splitlines() if line.strip()}
    strange = sorted(named - set(labels))
    if strange:
        raise DatasetError(
            f"{file} names {count_noun(len(strange), 'label')} not among the {len(labels)}"
            f" usable ones: {first_few(strange)}. Take them out, or lower --min-photos."
        )
    if named >= set(labels):
        raise DatasetError(f"{file} names every label; nothing is left to train on.")
    return _label_split(labels, named)


def left_out(names: Sequence[str], why: str) -> str:
    """Return the sentence about labels that take no part."""
    return f"left out {count_noun(len(names), 'label')} with {why}: {first_few(names)}"


def _label_split(labels: Sequence[str], unseen: set[str]) -> LabelSplit:
    return LabelSplit(tuple(sorted(set(labels) - unseen)), tuple(sorted(unseen)))


def _set_aside(
    rows: Rows, fraction: float, rng: np.random.Generator, part: str
) -> tuple[Rows, Rows]:
    """Return the rows that stay and those set aside, both in their old order."""
    count = round(len(rows) * fraction)
    if not 0 < count < len(rows):
        raise DatasetError(
            f"--{part}-fraction {fraction} sets aside {count} of {len(rows)} photos; at least one"
            " must be set aside and one must stay."
        )
    chosen = np.zeros(len(rows), bool)
    chosen[rng.choice(len(rows), count, replace=False)] = True
    return rows[~chosen], rows[chosen]


def _read_csv_splits(file: Path) -> dict[str, Any]:
    rows = csv.DictReader(read_text(file).splitlines())
    if not {"file", "split"} <= set(rows.fieldnames or ()):
        raise DatasetError(f"{file}:1: expected the header file,split.")
    try:
        return {row["file"]: row["split"] for row in rows}
    except csv.Error as error:
        raise DatasetError(f"{file}:{rows.line_num}: not CSV: {error}.") from error


def _rows(chosen: Any) -> Rows:
    return np.flatnonzero(np.fromiter(chosen, bool)).astype(np.int64)
