"""PASCAL VOC: one XML file of objects per photo (http://host.robots.ox.ac.uk/pascal/VOC/).

    ROOT/JPEGImages/ID.jpg   ROOT/Annotations/ID.xml   ROOT/ImageSets/Main/{train,val,test}.txt

Annotators searched every photo for every class. A class with only `difficult` objects in a photo is
unknown there, as in the challenge, which does not score such objects.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Record, targets_of
from mkt_search.datasets.files import read_text, require_folder, require_photos
from mkt_search.datasets.split import PhotoSplit, PublishedDataset
from mkt_search.errors import DatasetError
from mkt_search.files import read_bytes

SETS = Path("ImageSets") / "Main"


def read_voc(root: Path) -> PublishedDataset:
    """Read a VOC folder.

    With `test.txt` (VOC 2007), that file names the test photos, `train.txt` the training photos and
    `val.txt` the validation photos; `trainval.txt` can replace these two. Without `test.txt`,
    `val.txt` names the test photos.

    Raises:
        DatasetError: a file is missing or malformed; the text says which.
    """
    require_folder(root)
    names = _sets(root)
    photos = [name for part in names.values() for name in part]
    if len(set(photos)) < len(photos):
        twice = next(name for name in photos if photos.count(name) > 1)
        raise DatasetError(
            f"{root / SETS}: the photo {twice} is in more than one of train, val and test."
        )
    records = [read_annotation(root, name) for name in photos]
    files = tuple(record.file for record in records)
    require_photos(root, files, named_by=root / SETS)
    labels = tuple(sorted({label for r in records for label in (*r.shows, *r.unknown)}))
    if not labels:
        raise DatasetError(f"{root / 'Annotations'} names no objects.")
    ends = np.cumsum([len(part) for part in names.values()])
    train, validation, test = np.split(np.arange(len(files)), ends[:2])
    dataset = PhotoDataset(root, files, labels, targets_of(records, labels))
    return PublishedDataset(dataset, PhotoSplit(train, validation, test))


def read_annotation(root: Path, name: str) -> Record:
    """Read the annotation of one photo.

    Raises:
        DatasetError: the file cannot be read or is not an annotation.
    """
    file = root / "Annotations" / f"{name}.xml"
    plain: set[str] = set()
    difficult: set[str] = set()
    root_element = _parse(file)
    if root_element.tag != "annotation":
        raise DatasetError(f"{file} is not an annotation: it begins with <{root_element.tag}>.")
    for element in root_element.findall("object"):
        label = (element.findtext("name") or "").strip()
        if not label:
            raise DatasetError(f"{file}: an object has no name.")
        is_difficult = (element.findtext("difficult") or "0").strip() == "1"
        (difficult if is_difficult else plain).add(label)
    shows, unknown = tuple(sorted(plain)), tuple(sorted(difficult - plain))
    return Record(f"JPEGImages/{name}.jpg", shows, unknown=unknown)


def _sets(root: Path) -> dict[str, list[str]]:
    """Return the photo names of train, validation (may be empty) and test."""
    lists = {
        part: _names(root / SETS / f"{part}.txt")
        for part in ("train", "val", "trainval", "test")
        if (root / SETS / f"{part}.txt").is_file()
    }
    match lists:
        case {"train": train, "val": validation, "test": test}:
            return {"train": train, "validation": validation, "test": test}
        case {"trainval": train, "test": test} | {"train": train, "val": test}:
            return {"train": train, "validation": [], "test": test}
    raise DatasetError(
        f"{root / SETS} needs train.txt and val.txt, or trainval.txt and test.txt; it has"
        f" {', '.join(f'{part}.txt' for part in lists) or 'none of them'}. Is {root} a VOC folder"
        " (with Annotations, ImageSets and JPEGImages)?"
    )


def _names(file: Path) -> list[str]:
    names = sorted({line.split()[0] for line in read_text(file).splitlines() if line.strip()})
    if not names:
        raise DatasetError(f"{file} names no photos.")
    strange = [name for name in names if "/" in name or "\\" in name]
    if strange:
        raise DatasetError(f"{file}: {strange[0]!r} is not a photo name; leave out its folder.")
    return names


class _Plain(ElementTree.TreeBuilder):
    """Build elements and text only; refuse a document type, and with it entities."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("it has a document type, which no annotation needs")


def _parse(file: Path) -> ElementTree.Element:
    try:
        content = read_bytes(file)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error})") from error
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Plain()))
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise DatasetError(f"{file} is not an annotation: {error}.") from error
