"""Open Images v4: image-level labels verified by people; most labels of a photo are unknown.

    PHOTOS/{train,validation,test}/ID.jpg
    LABELS/{train,validation,test}-annotations-human-imagelabels.csv   (or in a folder per part)
    LABELS/class-descriptions.csv, classes-trainable.txt               MID,name and the seen MIDs
    LABELS/unseen_labels.pkl, top_400_unseen.csv                       the unseen MIDs, as published

The seen labels are the 7,186 trainable ones. The unseen ones are 400 other labels that are frequent
in the test photos, as LESA and BiAM published them: the entries of unseen_labels.pkl whose indices
are in top_400_unseen.csv (https://github.com/akshitac8/BiAM). Confidence 1 is +1, 0 is -1, and a
label without a line is unknown; a later line overrides an earlier one.
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mkt_search.datasets.dataset import STEP, PhotoDataset, unknown_targets
from mkt_search.datasets.files import read_rows, read_text, require_folder
from mkt_search.datasets.pickles import read_pickle
from mkt_search.datasets.split import LabelSplit, PhotoSplit, PublishedDataset
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError
from mkt_search.progress import Progress, ProgressCallback, no_progress

PARTS = ("train", "validation", "test")
ANNOTATIONS = ("annotations-human-imagelabels", "annotations-human-imagelabels-boxable")
REQUIRED_COLUMNS = ("ImageID", "LabelName", "Confidence")
TARGET_OF_CONFIDENCE = {"1": 1, "1.0": 1, "0": -1, "0.0": -1}


@dataclass
class PartEntries:
    """The photos of one part that are on disk, and their known entries (photo, label, value).

    The three arrays are parallel: one element per entry. They are `array`s because the whole
    training part has millions of entries.
    """

    rows: dict[str, int] = field(default_factory=dict)  # photo -> its number in order of the file
    photos: "array[int]" = field(default_factory=lambda: array("q"))
    labels: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[int]" = field(default_factory=lambda: array("b"))


def read_open_images(
    photos: Path, labels: Path, progress: ProgressCallback = no_progress
) -> PublishedDataset:
    """Read Open Images with its own splits of photos and labels.

    Photos that are not on disk are left out: most people have only some. If there are no validation
    photos or annotations, that part is empty.

    Args:
        photos: the folder of `train`, `validation` and `test`.
        labels: the folder of the CSV files and of the lists of labels.
        progress: receives remarks about photos left out and labels that share a name.

    Raises:
        DatasetError: a file is missing or malformed; the text says which.
    """
    require_folder(photos)
    if not labels.is_dir():
        raise DatasetError(
            f"there is no folder {labels}. Name the folder of the CSV files with --labels."
        )
    names = read_descriptions(labels / "class-descriptions.csv")
    seen, unseen = read_seen(labels / "classes-trainable.txt"), read_unseen_mids(labels)
    both = sorted(set(seen) & set(unseen))
    if both:
        raise DatasetError(
            f"{labels} lists {count_noun(len(both), 'label')} as both seen and unseen:"
            f" {first_few(both)}. Remove them from one list."
        )
    mids = (*seen, *unseen)
    texts = label_texts(mids, names, progress)
    column = {mid: i for i, mid in enumerate(mids)}
    parts = [_read_part(photos, labels, part, column, progress) for part in PARTS]
    return PublishedDataset(
        _dataset(photos, parts, texts),
        PhotoSplit(*np.split(np.arange(sum(len(p.rows) for p in parts)), _ends(parts))),
        LabelSplit(texts[: len(seen)], texts[len(seen) :]),
    )


def read_descriptions(file: Path) -> dict[str, str]:
    """Read MID -> name of every label.

    Raises:
        DatasetError: a row is malformed.
    """
    names = {}
    for number, row in read_rows(file):
        if number == 1 and row[:1] == ["LabelName"]:
            continue
        if len(row) != 2 or not row[1].strip():
            raise DatasetError(
                f"{file}:{number}: expected a label's MID and name: /m/011k07,Tortoise"
            )
        names[row[0].strip()] = row[1].strip()
    return names


def read_seen(file: Path) -> tuple[str, ...]:
    """Read the seen MIDs, one per line.

    Raises:
        DatasetError: there are none, or one occurs twice.
    """
    mids = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if not mids or len(set(mids)) < len(mids):
        raise DatasetError(f"{file} must name each trainable label once, one MID per line.")
    return mids


def read_unseen_mids(folder: Path) -> tuple[str, ...]:
    """Read the unseen MIDs: the entries of `unseen_labels.pkl` that `top_400_unseen.csv` indexes.

    Raises:
        DatasetError: a file is missing or malformed.
    """
    index_file, mid_file = folder / "top_400_unseen.csv", folder / "unseen_labels.pkl"
    for file in (index_file, mid_file):
        if not file.is_file():
            raise DatasetError(
                f"{file} is missing. Open Images itself does not define unseen labels; LESA and"
                " BiAM do, in unseen_labels.pkl and top_400_unseen.csv. Get both from"
                " datasets/OpenImages/2018_04 of https://github.com/akshitac8/BiAM."
            )
    mids = read_pickle(mid_file)
    if not isinstance(mids, list) or not all(isinstance(mid, str) for mid in mids):
        raise DatasetError(f"{mid_file} must hold a list of MIDs.")
    unseen = []
    for line, row in read_rows(index_file):
        if not row or not row[0].isdecimal() or int(row[0]) >= len(mids):
            raise DatasetError(
                f"{index_file}:{line}: expected an index into {mid_file}, below {len(mids)}."
            )
        unseen.append(str(mids[int(row[0])]))
    if not unseen or len(set(unseen)) < len(unseen):
        raise DatasetError(f"{index_file} must index at least one label, each once.")
    return tuple(unseen)


def label_texts(
    mids: Sequence[str], names: dict[str, str], progress: ProgressCallback = no_progress
) -> tuple[str, ...]:
    """Return the name of each label; a name that several labels share gets the MID appended.

    Raises:
        DatasetError: a label has no name.
    """
    nameless = [mid for mid in mids if mid not in names]
    if nameless:
        raise DatasetError(
            f"class-descriptions.csv lacks {count_noun(len(nameless), 'label')}: "
            f"{first_few(nameless)}."
        )
    times = Counter(names[mid] for mid in mids)
    shared = sorted(name for name, count in times.items() if count > 1)
    if shared:
        sentence = f"several labels share a name and get their MID appended: {first_few(shared)}"
        progress(Progress(STEP, message=sentence))
    return tuple(names[m] if times[names[m]] == 1 else f"{names[m]} ({m})" for m in mids)


def _read_part(
    photos: Path, labels: Path, part: str, column: dict[str, int], progress: ProgressCallback
) -> PartEntries:
    """Read the known entries of the photos of one part that are on disk."""
    file = _annotations(labels, part)
    folder = photos / part
    if part == "validation" and (file is None or not folder.is_dir()):
        return PartEntries()
    if file is None:
        raise DatasetError(
            f"no {part}-{ANNOTATIONS[0]}.csv in {labels} or {labels / part}. Get it from"
            " https://storage.googleapis.com/openimages/web/download_v4.html."
        )
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; put the photos of {file} there.")
    on_disk = {entry.name[:-4] for entry in os.scandir(folder) if entry.name.endswith(".jpg")}
    entries = PartEntries()
    missing: set[str] = set()
    for photo, mid, value in _read_entries(file):
        if photo not in on_disk:
            missing.add(photo)
            continue
        row = entries.rows.setdefault(photo, len(entries.rows))
        if mid in column:
            entries.photos.append(row)
            entries.labels.append(column[mid])
            entries.values.append(value)
    if not entries.rows:
        raise DatasetError(f"none of the {len(missing):,} photos that {file} names is in {folder}.")
    if missing:
        left_out = f"left out {count_noun(len(missing), 'photo')} of {file.name} not in {folder}"
        progress(Progress(STEP, message=left_out))
    return entries


def _annotations(labels: Path, part: str) -> Path | None:
    names = [f"{part}-{name}.csv" for name in ANNOTATIONS]
    candidates = [folder / name for name in names for folder in (labels, labels / part)]
    return next((file for file in candidates if file.is_file()), None)


def _read_entries(file: Path) -> Iterator[tuple[str, str, int]]:
    """Yield photo, MID and +1 or -1 of every line."""
    lines = read_rows(file)
    _, header = next(lines, (0, []))
    if not set(REQUIRED_COLUMNS) <= set(header):
        raise DatasetError(f"{file}:1: expected the columns {', '.join(REQUIRED_COLUMNS)}.")
    photo, mid, confidence = (header.index(name) for name in REQUIRED_COLUMNS)
    for number, row in lines:
        value = TARGET_OF_CONFIDENCE.get(row[confidence]) if len(row) == len(header) else None
        if value is None:
            raise DatasetError(
                f"{file}:{number}: expected {len(header)} columns and Confidence 0 or 1, as people"
                " verified it; machine-generated labels are not supported."
            )
        yield row[photo], row[mid], value


def _dataset(photos: Path, parts: Sequence[PartEntries], texts: tuple[str, ...]) -> PhotoDataset:
    """Concatenate the parts, the photos of each sorted by name."""
    targets = unknown_targets(sum(len(part.rows) for part in parts), len(texts))
    files: list[str] = []
    for name, part in zip(PARTS, parts, strict=True):
        order = sorted(part.rows)
        row_of = np.empty(len(order), np.int64)  # (photos of the part,): row in the dataset
        row_of[[part.rows[photo] for photo in order]] = np.arange(len(order)) + len(files)
        targets[row_of[np.asarray(part.photos)], np.asarray(part.labels)] = part.values
        files += [f"{name}/{photo}.jpg" for photo in order]
    return PhotoDataset(photos, tuple(files), texts, targets)


def _ends(parts: Sequence[PartEntries]) -> list[int]:
    return [len(parts[0].rows), len(parts[0].rows) + len(parts[1].rows)]
