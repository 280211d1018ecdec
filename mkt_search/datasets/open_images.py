"""Open Images v4: image-level labels verified by people, partly known for each photo.

    PHOTOS/{train,validation,test}/ID.jpg
    LABELS/{train,validation,test}-annotations-human-imagelabels.csv   (or in a folder of each part)
    LABELS/class-descriptions.csv, classes-trainable.txt               MID,name and the seen MIDs
    LABELS/unseen_labels.pkl, top_400_unseen.csv                       the unseen MIDs, as published

The seen labels are the 7,186 trainable ones. The unseen ones are 400 further labels that are
frequent in the test photos, as LESA and BiAM published them: the entries of unseen_labels.pkl whose
numbers are in top_400_unseen.csv (https://github.com/akshitac8/BiAM). Confidence 1 is +1, 0 is -1,
a label without a line is unknown; of two lines the later one counts.
"""

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, all_unknown
from mkt_search.datasets.files import read_rows, read_text, require_folder
from mkt_search.datasets.pickles import read_pickle
from mkt_search.datasets.split import LabelSplit, PhotoSplit, Published
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError

PARTS = ("train", "validation", "test")
ANNOTATIONS = ("annotations-human-imagelabels", "annotations-human-imagelabels-boxable")
COLUMNS = ("ImageID", "LabelName", "Confidence")
Say = Callable[[str], None]


@dataclass
class Part:
    """The photos of one part that are on disk, and every known entry (photo, label, value)."""

    rows: dict[str, int] = field(default_factory=dict)  # photo -> the order it came in
    photos: "array[int]" = field(default_factory=lambda: array("q"))
    labels: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[int]" = field(default_factory=lambda: array("b"))


def read_open_images(photos: Path, labels: Path, say: Say = lambda sentence: None) -> Published:
    """Read Open Images with its own split of photos and of labels.

    Photos that are not on disk are left out: most people have a part. Without validation photos
    none are given.

    Args:
        photos: the folder of `train`, `validation` and `test`.
        labels: the folder of the CSV files and of the lists of labels.
        say: hears what is left out and which labels share a name.

    Raises:
        DatasetError: a file is missing or cannot be understood; the text says which.
    """
    require_folder(photos)
    if not labels.is_dir():
        raise DatasetError(f"there is no folder {labels}. Name the one of the CSVs with --labels.")
    names = read_descriptions(labels / "class-descriptions.csv")
    seen, unseen = read_seen(labels / "classes-trainable.txt"), read_unseen_mids(labels)
    both = sorted(set(seen) & set(unseen))
    if both:
        raise DatasetError(
            f"{count_noun(len(both), 'label')} seen and unseen at once: {first_few(both)}. Check "
            f"{labels}."
        )
    mids = (*seen, *unseen)
    texts = label_texts(mids, names, say)
    column = {mid: i for i, mid in enumerate(mids)}
    parts = [_read_part(photos, labels, part, column, say) for part in PARTS]
    return Published(
        _dataset(photos, parts, texts),
        PhotoSplit(*np.split(np.arange(sum(len(p.rows) for p in parts)), _ends(parts))),
        LabelSplit(texts[: len(seen)], texts[len(seen) :]),
    )


def read_descriptions(file: Path) -> dict[str, str]:
    """Return MID -> name of every label there is."""
    found = {}
    for number, row in read_rows(file):
        if number == 1 and row[:1] == ["LabelName"]:
            continue
        if len(row) != 2 or not row[1].strip():
            raise DatasetError(
                f"{file}:{number}: expected a label's MID and name: /m/011k07,Tortoise"
            )
        found[row[0].strip()] = row[1].strip()
    return found


def read_seen(file: Path) -> tuple[str, ...]:
    """Return the seen MIDs, one a line."""
    mids = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if not mids or len(set(mids)) < len(mids):
        raise DatasetError(f"{file} must name each trainable label once, one MID a line.")
    return mids


def read_unseen_mids(folder: Path) -> tuple[str, ...]:
    """Return the unseen MIDs: the entries of the published list that its numbers choose."""
    numbers, listed = folder / "top_400_unseen.csv", folder / "unseen_labels.pkl"
    for file in (numbers, listed):
        if not file.is_file():
            raise DatasetError(
                f"cannot read {file}: No such file. Open Images itself does not say which labels"
                " are unseen; the list of LESA and BiAM does: unseen_labels.pkl and"
                " top_400_unseen.csv, in datasets/OpenImages/2018_04 of"
                " https://github.com/akshitac8/BiAM."
            )
    known = read_pickle(listed)
    if not isinstance(known, list) or not all(isinstance(mid, str) for mid in known):
        raise DatasetError(f"{listed} must hold a list of MIDs.")
    chosen = []
    for line, row in read_rows(numbers):
        if not row or not row[0].isdecimal() or int(row[0]) >= len(known):
            raise DatasetError(f"{numbers}:{line}: expected a row of {listed}, below {len(known)}.")
        chosen.append(str(known[int(row[0])]))
    if not chosen or len(set(chosen)) < len(chosen):
        raise DatasetError(f"{numbers} must choose labels, each once.")
    return tuple(chosen)


def label_texts(mids: Sequence[str], names: dict[str, str], say: Say) -> tuple[str, ...]:
    """Return the name of each label; one that several labels have gets its MID behind it."""
    nameless = [mid for mid in mids if mid not in names]
    if nameless:
        raise DatasetError(
            f"class-descriptions.csv lacks {count_noun(len(nameless), 'label')}: "
            f"{first_few(nameless)}."
        )
    times = Counter(names[mid] for mid in mids)
    shared = sorted(name for name, count in times.items() if count > 1)
    if shared:
        say(f"several labels have one name, told apart by their MID: {first_few(shared)}")
    return tuple(names[m] if times[names[m]] == 1 else f"{names[m]} ({m})" for m in mids)


def _read_part(photos: Path, labels: Path, part: str, column: dict[str, int], say: Say) -> Part:
    """Read what is known of the photos of one part that are on disk."""
    file = _annotations(labels, part)
    folder = photos / part
    if part == "validation" and (file is None or not folder.is_dir()):
        return Part()
    if file is None:
        raise DatasetError(
            f"no {part}-{ANNOTATIONS[0]}.csv in {labels} or {labels / part}. Get it from"
            " https://storage.googleapis.com/openimages/web/download_v4.html."
        )
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}; the photos of {file} belong there.")
    there = {entry.name[:-4] for entry in os.scandir(folder) if entry.name.endswith(".jpg")}
    found = Part()
    away: set[str] = set()
    for photo, mid, value in _entries(file):
        if photo not in there:
            away.add(photo)
            continue
        row = found.rows.setdefault(photo, len(found.rows))
        if mid in column:
            found.photos.append(row)
            found.labels.append(column[mid])
            found.values.append(value)
    if not found.rows:
        raise DatasetError(f"none of the {len(away):,} photos that {file} names is in {folder}.")
    if away:
        say(f"left out {count_noun(len(away), 'photo')} of {file.name} not in {folder}")
    return found


def _annotations(labels: Path, part: str) -> Path | None:
    names = [f"{part}-{name}.csv" for name in ANNOTATIONS]
    places = [folder / name for name in names for folder in (labels, labels / part)]
    return next((place for place in places if place.is_file()), None)


def _entries(file: Path) -> Iterator[tuple[str, str, int]]:
    """Give photo, MID and +1 or -1 of every line."""
    lines = read_rows(file)
    _, header = next(lines, (0, []))
    if not set(COLUMNS) <= set(header):
        raise DatasetError(f"{file}:1: expected the columns {', '.join(COLUMNS)}.")
    photo, mid, confidence = (header.index(name) for name in COLUMNS)
    for number, row in lines:
        value = CONFIDENCE.get(row[confidence]) if len(row) == len(header) else None
        if value is None:
            raise DatasetError(
                f"{file}:{number}: expected {len(header)} columns with Confidence 0 or 1, as people"
                " verified it; machine-made labels are no truth to learn from."
            )
        yield row[photo], row[mid], value


def _dataset(photos: Path, parts: Sequence[Part], texts: tuple[str, ...]) -> PhotoDataset:
    """Put the parts below each other, the photos of each sorted by name."""
    targets = all_unknown(sum(len(part.rows) for part in parts), len(texts))
    files: list[str] = []
    for name, part in zip(PARTS, parts, strict=True):
        order = sorted(part.rows)
        place = np.empty(len(order), np.int64)
        place[[part.rows[photo] for photo in order]] = np.arange(len(order)) + len(files)
        targets[place[np.asarray(part.photos)], np.asarray(part.labels)] = part.values
        files += [f"{name}/{photo}.jpg" for photo in order]
    return PhotoDataset(photos, tuple(files), texts, targets)


def _ends(parts: Sequence[Part]) -> list[int]:
    return [len(parts[0].rows), len(parts[0].rows) + len(parts[1].rows)]


CONFIDENCE = {"1": 1, "1.0": 1, "0": -1, "0.0": -1}
