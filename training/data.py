"""Labelled photos: which files there are, and what each is known to show.

Read here: a folder and one file that maps photos to labels. Every other dataset only has to end in
the same `PhotoDataset`; training looks at nothing else.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import TrainingError

Targets = NDArray[np.int8]


@dataclass(frozen=True)
class PhotoDataset:
    """N photos in a folder and what is known of L labels.

    `files` are relative to `folder`. `targets` (N, L) int8: +1 the photo shows the label, -1 it
    does not, 0 unknown; an unknown entry takes no part in training or evaluation.
    """

    folder: Path
    files: tuple[str, ...]
    labels: tuple[str, ...]
    targets: Targets

    def __len__(self) -> int:
        return len(self.files)

    def only(self, labels: Sequence[str]) -> "PhotoDataset":
        """Return the same photos with these labels alone, in this order."""
        column = {label: i for i, label in enumerate(self.labels)}
        columns = [column[label] for label in labels]
        return replace(self, labels=tuple(labels), targets=self.targets[:, columns])


@dataclass(frozen=True)
class Record:
    """What a labels file says of one photo. Without `absent`, labels not shown are absent."""

    file: str
    shows: tuple[str, ...]
    absent: tuple[str, ...] | None = None


def read_dataset(folder: Path, labels_file: Path) -> PhotoDataset:
    """Read a folder of photos with a labels file. Photos the file does not name are left alone.

    The file is one of

        .json   {"a.jpg": ["sky", "sea"], ...}
        .jsonl  {"file": "a.jpg", "labels": ["sky", "sea"]} on each line
        .csv    header file,labels; labels separated by ";", or one row for each label

    A photo may also list labels known to be `absent` (JSON: {"labels": [...], "absent": [...]};
    CSV: a third column): then labels in neither list are unknown. Else they are absent.

    Raises:
        TrainingError: a file is missing or cannot be understood; the text says where.
    """
    if not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}. Name the photos' folder with --photos.")
    records = read_records(labels_file)
    files = tuple(record.file for record in records)
    _require_files(folder, files, labels_file)
    labels = tuple(sorted({label for r in records for label in (*r.shows, *(r.absent or ()))}))
    if not labels:
        raise TrainingError(f"{labels_file} names no labels. Give each photo at least one.")
    return PhotoDataset(folder, files, labels, _targets(records, labels))


def read_records(labels_file: Path) -> list[Record]:
    """Return what a labels file says, one record per photo, sorted by file name."""
    reader = READERS.get(labels_file.suffix.lower())
    if reader is None:
        raise TrainingError(
            f"{labels_file} is none of {', '.join(READERS)}. Give --labels a file of such a kind."
        )
    merged: dict[str, Record] = {}
    for record in reader(labels_file):
        merged[record.file] = _merge(merged.get(record.file), record)
    if not merged:
        raise TrainingError(f"{labels_file} names no photos.")
    return [merged[file] for file in sorted(merged)]


def read_text(file: Path) -> str:
    """Return the text of a file the user named; a sentence where that fails."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TrainingError(f"cannot read {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{file} is not UTF-8 text. Save it as UTF-8.") from error


def read_json(file: Path) -> Any:
    """Return the JSON of a file the user named; a sentence with the line where it breaks."""
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise TrainingError(f"{file}:{error.lineno}: not JSON: {error.msg}.") from error


def _read_json_labels(file: Path) -> Iterator[Record]:
    said = read_json(file)
    if not isinstance(said, dict):
        raise TrainingError(f'{file} must be one object, {{"a.jpg": ["sky", "sea"], ...}}.')
    for name, value in said.items():
        entry = value if isinstance(value, dict) else {"labels": value}
        yield _record(name, entry, place=f"{file}: {name!r}")


def _read_jsonl_labels(file: Path) -> Iterator[Record]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise TrainingError(f"{file}:{number}: not JSON: {error.msg}.") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise TrainingError(
                f'{file}:{number}: expected {{"file": "a.jpg", "labels": ["sky", "sea"]}}.'
            )
        yield _record(entry["file"], entry, place=f"{file}:{number}")


def _read_csv_labels(file: Path) -> Iterator[Record]:
    rows = csv.DictReader(read_text(file).splitlines())
    columns = rows.fieldnames or []
    labels = next((name for name in ("labels", "label") if name in columns), None)
    if "file" not in columns or labels is None:
        raise TrainingError(f"{file}:1: expected the header file,labels (or file,label).")
    for row in rows:
        if row["file"] is None or row[labels] is None or None in row:
            raise TrainingError(
                f"{file}:{rows.line_num}: expected {len(columns)} columns; separate labels by"
                ' ";", and quote a name that holds a comma.'
            )
        absent = _split(row["absent"] or "") if "absent" in columns else None
        yield Record(row["file"].strip(), _split(row[labels]), absent)


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".json": _read_json_labels,
    ".jsonl": _read_jsonl_labels,
    ".csv": _read_csv_labels,
}


def _split(text: str) -> tuple[str, ...]:
    return tuple(label for part in text.split(";") if (label := part.strip()))


def _record(name: str, entry: dict[str, Any], *, place: str) -> Record:
    shows = _labels(entry.get("labels"), place)
    absent = _labels(entry["absent"], place) if "absent" in entry else None
    return Record(name, shows, absent)


def _labels(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise TrainingError(f"{place}: labels must be a list of texts.")
    return tuple(label for text in value if (label := text.strip()))


def _merge(first: Record | None, second: Record) -> Record:
    """Join two records of one photo; in a CSV a photo has a row for each of its labels."""
    if first is None:
        return second
    absent = None
    if first.absent is not None or second.absent is not None:
        absent = (*(first.absent or ()), *(second.absent or ()))
    return Record(first.file, (*first.shows, *second.shows), absent)


def _require_files(folder: Path, files: Sequence[str], labels_file: Path) -> None:
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise TrainingError(
            f"{len(missing):,} of the {len(files):,} photos that {labels_file} names are not in"
            f" {folder}, the first is {missing[0]!r}. Name their folder with --photos, or take"
            " them out of the file."
        )


def _targets(records: Sequence[Record], labels: Sequence[str]) -> Targets:
    column = {label: i for i, label in enumerate(labels)}
    targets = np.full((len(records), len(labels)), -1, np.int8)
    for row, record in zip(targets, records, strict=True):
        if record.absent is not None:
            row[:] = 0
            row[[column[label] for label in record.absent]] = -1
        row[[column[label] for label in record.shows]] = 1
    return targets
