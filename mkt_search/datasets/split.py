"""Split labels into seen and unseen, and photos into train, validation and test.

Unseen labels never reach the loss: training gets only the columns of the seen labels.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
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
    """Rows of a dataset: to train on, to validate on after each epoch, and to test on."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class LabelSplit:
    """Seen and unseen labels: sorted if drawn, in the dataset's order if published.

    `never_named` are labels that only an evaluation has: training heard of them in no way.
    """

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    never_named: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedDataset:
    """A dataset as its files describe it; `photos` and `labels` are None if they define no split.

    All published unseen labels are kept, even those without photos, because published figures are
    means over all of them.
    """

    dataset: PhotoDataset
    photos: PhotoSplit | None = None
    labels: LabelSplit | None = None


@dataclass(frozen=True)
class UsableLabels:
    """The result of `usable_labels`: the labels to keep, and those left out by reason."""

    names: tuple[str, ...]
    without_photos: tuple[str, ...]
    rare: tuple[str, ...]
    without_vector: tuple[str, ...]

    def describe(self, min_photos: int) -> list[str]:
        """Return one sentence for each reason that left labels out."""
        reasons = [
            (self.without_photos, "no training photo"),
            (self.rare, f"fewer than {min_photos} training photos (--min-photos)"),
            (self.without_vector, WITHOUT_VECTOR),
        ]
        return [left_out_sentence(names, why) for names, why in reasons if names]


def read_splits(file: Path, files: Sequence[str]) -> tuple[Rows, Rows]:
    """Return the train and test rows that a splits file assigns.

    The file is JSON {"a.jpg": "train", "b.jpg": "test"} or CSV with the header file,split. A photo
    with any other value, such as "val", is left out.

    Raises:
        DatasetError: the file is malformed, does not name a labeled photo, or leaves a part empty.
    """
    content = _read_csv_splits(file) if file.suffix.lower() == ".csv" else read_json(file)
    if not isinstance(content, dict):
        raise DatasetError(f'{file} must be one object, {{"a.jpg": "train", ...}}.')
    missing = [name for name in files if name not in content]
    if missing:
        raise DatasetError(
            f"{file} has no entry for {len(missing):,} labeled photos; the first is"
            f" {missing[0]!r}. Assign train or test to each."
        )
    rows = {part: _rows(content[name] == part for name in files) for part in ("train", "test")}
    for part, rows_of_part in rows.items():
        if not len(rows_of_part):
            raise DatasetError(f'{file} assigns no labeled photo to "{part}".')
    return rows["train"], rows["test"]


def draw_splits(count: int, *, test_fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Draw train and test rows of `count` photos.

    Raises:
        DatasetError: the fraction leaves train or test empty.
    """
    return _set_aside(np.arange(count), test_fraction, np.random.default_rng([seed, 1]), "test")


def split_photos(
    train: Rows, test: Rows, *, validation: Validation, fraction: float, seed: int
) -> PhotoSplit:
    """Add validation photos to a split: held out of train, the test photos, or none.

    Raises:
        DatasetError: the fraction leaves train or validation empty.
    """
    if validation == "held-out":
        kept, held_out = _set_aside(train, fraction, np.random.default_rng([seed, 2]), "validation")
        return PhotoSplit(kept, held_out, test)
    return PhotoSplit(train, test if validation == "test" else train[:0], test)


def split_published(
    published: PhotoSplit, *, validation: Validation, fraction: float, seed: int
) -> PhotoSplit:
    """Return a published split with the validation photos that are asked for.

    The published validation photos count as held out; for any other `validation` they join train.

    Raises:
        DatasetError: the fraction leaves train or validation empty.
    """
    if validation == "held-out" and len(published.validation):
        return published
    train = np.union1d(published.train, published.validation)
    return split_photos(train, published.test, validation=validation, fraction=fraction, seed=seed)


def usable_labels(
    dataset: PhotoDataset, train: Rows, *, min_photos: int, is_known: Callable[[str], bool]
) -> UsableLabels:
    """Select the labels that have enough training photos and a vector.

    Args:
        dataset: the photos and all their labels.
        train: rows of the photos to count.
        min_photos: fewest training photos of a label, at least 1.
        is_known: returns True if the label encoder has a vector for a label.

    Raises:
        DatasetError: fewer than two labels remain.
    """
    counts = dataset.shown_by(train)
    names = np.array(dataset.labels)
    without_photos = tuple(names[counts == 0].tolist())
    rare = tuple(names[(counts > 0) & (counts < min_photos)].tolist())
    common = names[counts >= min_photos].tolist()
    without_vector = tuple(name for name in common if not is_known(name))
    usable = tuple(sorted(set(common) - set(without_vector)))
    if len(usable) < 2:
        few = len(without_photos) + len(rare)
        raise DatasetError(
            f"{len(usable)} of {len(names)} labels can be used: {few} have fewer than {min_photos}"
            f" training photos (lower --min-photos), {len(without_vector)} have no vector in the"
            " label table (give another --label-table)."
        )
    return UsableLabels(usable, without_photos, rare, without_vector)


def keep_known(published: LabelSplit, is_known: Callable[[str], bool]) -> LabelSplit:
    """Return a published label split without the labels that have no vector."""
    return LabelSplit(
        tuple(filter(is_known, published.seen)),
        tuple(filter(is_known, published.unseen)),
    )


def draw_unseen(labels: Sequence[str], *, fraction: float, seed: int) -> LabelSplit:
    """Draw a fraction of sorted labels, rounded down, as unseen.

    Raises:
        DatasetError: the fraction is not in [0, 1).
    """
    count = int(len(labels) * fraction + 1e-9)
    if not 0 <= fraction < 1:
        raise DatasetError(
            f"--unseen-fraction is {fraction}; it must be at least 0 and less than 1."
        )
    unseen = np.random.default_rng(seed).choice(len(labels), count, replace=False)
    return _label_split(labels, {labels[i] for i in unseen})


def read_unseen(file: Path, labels: Sequence[str]) -> LabelSplit:
    """Split labels by a file of unseen labels, one per line.

    Raises:
        DatasetError: the file names a label that is not among `labels`, or all of them.
    """
    named = {line.strip() for line in read_text(file).splitlines() if line.strip()}
    strange = sorted(named - set(labels))
    if strange:
        raise DatasetError(
            f"{file} names {count_noun(len(strange), 'label')} that are not among the"
            f" {len(labels)} usable ones: {first_few(strange)}. Take them out, or lower"
            " --min-photos."
        )
    if named >= set(labels):
        raise DatasetError(f"{file} names every label; nothing is left to train on.")
    return _label_split(labels, named)


def left_out_sentence(names: Sequence[str], why: str) -> str:
    """Return a sentence about labels that are left out."""
    return f"left out {count_noun(len(names), 'label')} with {why}: {first_few(names)}"


def _label_split(labels: Sequence[str], unseen: set[str]) -> LabelSplit:
    return LabelSplit(tuple(sorted(set(labels) - unseen)), tuple(sorted(unseen)))


def _set_aside(
    rows: Rows, fraction: float, rng: np.random.Generator, part: str
) -> tuple[Rows, Rows]:
    """Draw rows to set aside; return the rest and the drawn rows, both in their old order."""
    count = round(len(rows) * fraction)
    if not 0 < count < len(rows):
        raise DatasetError(
            f"--{part}-fraction {fraction} sets aside {count} of {len(rows)} photos; it must set"
            " aside at least one and leave at least one."
        )
    is_drawn = np.zeros(len(rows), bool)
    is_drawn[rng.choice(len(rows), count, replace=False)] = True
    return rows[~is_drawn], rows[is_drawn]


def _read_csv_splits(file: Path) -> dict[str, Any]:
    rows = csv.DictReader(read_text(file).splitlines())
    try:
        if not {"file", "split"} <= set(rows.fieldnames or ()):
            raise DatasetError(f"{file}:1: expected the header file,split.")
        return {row["file"]: row["split"] for row in rows}
    except csv.Error as error:
        raise DatasetError(f"{file}:{rows.line_num}: not CSV: {error}.") from error


def _rows(mask: Iterator[bool]) -> Rows:
    return np.flatnonzero(np.fromiter(mask, bool)).astype(np.int64)
