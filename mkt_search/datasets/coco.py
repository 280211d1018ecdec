"""COCO: `instances_*.json` with images, annotations and categories (https://cocodataset.org).

Annotators searched every image for every category, so a category without an annotation is absent.
A crowd (`iscrowd`) shows its category like any other annotation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Record, targets_of
from mkt_search.datasets.files import read_json, require_folder, require_photos
from mkt_search.datasets.split import PhotoSplit, PublishedDataset
from mkt_search.errors import DatasetError

PREFIX = "instances_"
REQUIRED_KEYS = {"images": "file_name", "annotations": "category_id", "categories": "name"}


@dataclass(frozen=True)
class Instances:
    """The contents of an instances file: a record per image, and the names of all categories."""

    records: list[Record]
    labels: tuple[str, ...]


def read_coco(photos: Path, labels: Path) -> PublishedDataset:
    """Read COCO instances.

    Args:
        photos: the folder of the images, or of one folder per instances file, named like it
            (`train2017/` for `instances_train2017.json`).
        labels: an instances file, or a folder with one `instances_train*.json` and one
            `instances_val*.json`; the images of the second are the test photos.

    Raises:
        DatasetError: a file is missing or is not an instances file; the text says where.
    """
    require_folder(photos)
    if not labels.is_dir():
        return PublishedDataset(_dataset(photos, [read_instances(labels, photos)], [labels]))
    files = [_only_file(labels, part) for part in ("train", "val")]
    parts = [read_instances(file, photos) for file in files]
    if set(parts[0].labels) != set(parts[1].labels):
        raise DatasetError(
            f"{files[0]} and {files[1]} have different categories; give a matching pair."
        )
    count = len(parts[0].records)
    dataset = _dataset(photos, parts, files)
    train, test = np.arange(count), np.arange(count, len(dataset))
    return PublishedDataset(dataset, PhotoSplit(train, train[:0], test))


def read_instances(file: Path, photos: Path) -> Instances:
    """Read an instances file; the file names of its records are relative to `photos`.

    Raises:
        DatasetError: the file cannot be read or is not an instances file; the text says where.
    """
    content = read_json(file)
    _check_form(content, file)
    below = f"{file.stem.removeprefix(PREFIX)}/"
    prefix = below if (photos / below).is_dir() else ""
    names = {category["id"]: category["name"].strip() for category in content["categories"]}
    shows: dict[Any, set[str]] = {image["id"]: set() for image in content["images"]}
    for number, annotation in enumerate(content["annotations"]):
        image, category = annotation["image_id"], annotation["category_id"]
        if image not in shows or category not in names:
            missing = f"image {image}" if image not in shows else f"category {category}"
            raise DatasetError(
                f"{file}: annotation {number} names {missing}, which is not defined."
            )
        shows[image].add(names[category])
    records = [
        Record(prefix + image["file_name"], tuple(sorted(shows[image["id"]])))
        for image in content["images"]
    ]
    return Instances(sorted(records, key=lambda record: record.file), tuple(names.values()))


def _dataset(photos: Path, parts: list[Instances], named_by: list[Path]) -> PhotoDataset:
    for part, file in zip(parts, named_by, strict=True):
        require_photos(photos, [record.file for record in part.records], named_by=file)
    records = [record for part in parts for record in part.records]
    files = tuple(record.file for record in records)
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise DatasetError(f"{named_by[-1]}: the image {twice!r} is named twice.")
    labels = tuple(sorted(parts[0].labels))
    return PhotoDataset(photos, files, labels, targets_of(records, labels))


def _only_file(folder: Path, part: str) -> Path:
    files = sorted(folder.glob(f"{PREFIX}{part}*.json"))
    if len(files) != 1:
        raise DatasetError(
            f"{folder} has {len(files)} files {PREFIX}{part}*.json; it needs one. Or name a single"
            " instances file with --labels."
        )
    return files[0]


def _check_form(content: Any, file: Path) -> None:
    """Raise DatasetError with the first thing that is wrong in an instances file."""
    for name, key in REQUIRED_KEYS.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DatasetError(f'{file} has no list "{name}", which an instances file of COCO has.')
        needed = ("image_id", key) if name == "annotations" else ("id", key)
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not all(_is_plain(entry.get(k)) for k in needed):
                raise DatasetError(f"{file}: {name} {number} needs {' and '.join(needed)}.")
        if name != "annotations":
            _check_texts((entry[key] for entry in entries), file, name)
    for name in ("images", "categories"):
        _check_unique([entry["id"] for entry in content[name]], f"{file}: the id {{}} of {name}")
    _check_unique(
        [c["name"].strip() for c in content["categories"]], f"{file}: the category {{!r}}"
    )
    if not content["images"] or not content["categories"]:
        raise DatasetError(f"{file} names no images or no categories.")


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | str)


def _check_texts(values: Iterable[Any], file: Path, name: str) -> None:
    if not all(isinstance(value, str) and value.strip() for value in values):
        raise DatasetError(f"{file}: {REQUIRED_KEYS[name]} of {name} must be text.")


def _check_unique(values: list[Any], sentence: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise DatasetError(f"{sentence.format(value)} occurs twice.")
        seen.add(value)
