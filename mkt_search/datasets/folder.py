"""Read a folder of photos and one file that maps photos to labels: CSV, JSON or JSON Lines."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkt_search.datasets.dataset import PhotoDataset, Record, targets_of
from mkt_search.datasets.files import (
    parse_json,
    read_json,
    read_text,
    require_folder,
    require_photos,
)
from mkt_search.errors import DatasetError


def read_dataset(folder: Path, labels_file: Path) -> PhotoDataset:
    """Read a folder of photos with a labels file. Photos that the file does not name are ignored.

    The file is one of

        .json   {"a.jpg": ["sky", "sea"], ...}
        .jsonl  {"file": "a.jpg", "labels": ["sky", "sea"]} on each line
        .csv    header file,labels; labels separated by ";", or one row for each label

    A photo may also list labels known to be `absent` (JSON: {"labels": [...], "absent": [...]};
    CSV: a third column); then the labels in neither list are unknown. Otherwise they are absent.

    Raises:
        DatasetError: a file is missing or malformed; the text says where.
    """
    require_folder(folder)
    records = read_records(labels_file)
    files = tuple(record.file for record in records)
    require_photos(folder, files, named_by=labels_file)
    labels = tuple(sorted({label for r in records for label in (*r.shows, *(r.absent or ()))}))
    if not labels:
        raise DatasetError(f"{labels_file} names no labels. Give each photo at least one.")
    return PhotoDataset(folder, files, labels, targets_of(records, labels))


def read_records(labels_file: Path) -> list[Record]:
    """Read a labels file: one record per photo, sorted by file name.

    Raises:
        DatasetError: the file is malformed; the text says where.
    """
    reader = READERS.get(labels_file.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{labels_file} is none of {', '.join(READERS)}. Give --labels such a file."
        )
    merged: dict[str, Record] = {}
    for record in reader(labels_file):
        merged[record.file] = _merge(merged.get(record.file), record)
    if not merged:
        raise DatasetError(f"{labels_file} names no photos.")
    return [merged[file] for file in sorted(merged)]


def _read_json_labels(file: Path) -> Iterator[Record]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise DatasetError(f'{file} must be one object, {{"a.jpg": ["sky", "sea"], ...}}.')
    for name, value in content.items():
        entry = value if isinstance(value, dict) else {"labels": value}
        yield _record(name, entry, where=f"{file}: {name!r}")


def _read_jsonl_labels(file: Path) -> Iterator[Record]:
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        entry = parse_json(line, file, line=number)
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise DatasetError(
                f'{file}:{number}: expected {{"file": "a.jpg", "labels": ["sky", "sea"]}}.'
            )
        yield _record(entry["file"], entry, where=f"{file}:{number}")


def _read_csv_labels(file: Path) -> Iterator[Record]:
    rows = csv.DictReader(read_text(file).splitlines())
    try:
        columns = rows.fieldnames or []
        labels = next((name for name in ("labels", "label") if name in columns), None)
        if "file" not in columns or labels is None:
            raise DatasetError(f"{file}:1: expected the header file,labels (or file,label).")
        for row in rows:
            yield _csv_record(row, labels, where=f"{file}:{rows.line_num}")
    except csv.Error as error:
        raise DatasetError(f"{file}:{rows.line_num}: not CSV: {error}.") from error


def _csv_record(row: dict[str, Any], labels: str, *, where: str) -> Record:
    if row["file"] is None or row[labels] is None or None in row:
        columns = sum(name is not None for name in row)
        raise DatasetError(
            f'{where}: expected {columns} columns; separate labels by ";", and quote a name that'
            " holds a comma."
        )
    absent = _split(row["absent"] or "") if "absent" in row else None
    return Record(row["file"].strip(), _split(row[labels]), absent)


READERS: dict[str, Callable[[Path], Iterator[Record]]] = {
    ".json": _read_json_labels,
    ".jsonl": _read_jsonl_labels,
    ".csv": _read_csv_labels,
}


def _split(text: str) -> tuple[str, ...]:
    return tuple(label for part in text.split(";") if (label := part.strip()))


def _record(name: str, entry: dict[str, Any], *, where: str) -> Record:
    shows = _labels(entry.get("labels"), where)
    absent = _labels(entry["absent"], where) if "absent" in entry else None
    return Record(name, shows, absent)


def _labels(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise DatasetError(f"{where}: labels must be a list of strings.")
    return tuple(label for text in value if (label := text.strip()))


def _merge(first: Record | None, second: Record) -> Record:
    """Join two records of one photo; a CSV may have one row for each label."""
    if first is None:
        return second
    absent = None
    if first.absent is not None or second.absent is not None:
        absent = (*(first.absent or ()), *(second.absent or ()))
    return Record(first.file, (*first.shows, *second.shows), absent)
