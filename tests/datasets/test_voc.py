"""PASCAL VOC folders: objects become labels, and only difficult ones become unknown."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mkt_search.datasets.split import PhotoSplit
from mkt_search.datasets.voc import read_voc
from mkt_search.errors import DatasetError

OBJECTS: dict[str, list[tuple[str, int]]] = {
    "000001": [("dog", 0), ("cat", 1)],
    "000002": [("cat", 0), ("cat", 1)],
    "000003": [],
    "000004": [("sofa", 1)],
}
SETS = {"train": "000002\n000001\n", "val": "000003\n", "test": "000004\n"}


def annotation(objects: list[tuple[str, int]]) -> str:
    parts = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult></object>"
        for name, difficult in objects
    )
    return f"<annotation><filename>x.jpg</filename>{parts}</annotation>"


def voc(root: Path, sets: Mapping[str, str] = SETS) -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name, objects in OBJECTS.items():
        (root / "Annotations" / f"{name}.xml").write_text(annotation(objects))
        (root / "JPEGImages" / f"{name}.jpg").write_bytes(b"a photo")
    for name, text in sets.items():
        (root / "ImageSets/Main" / f"{name}.txt").write_text(text)
    return root


def rows(photos: PhotoSplit | None) -> dict[str, list[int]]:
    return {name: found.tolist() for name, found in vars(photos).items()}


def test_only_difficult_objects_leave_a_label_unknown(tmp_path: Path) -> None:
    dataset = read_voc(voc(tmp_path)).dataset
    assert dataset.files == tuple(f"JPEGImages/00000{i}.jpg" for i in (1, 2, 3, 4))
    assert dataset.labels == ("cat", "dog", "sofa")
    assert dataset.targets.tolist() == [[0, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, -1, 0]]


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (SETS, {"train": [0, 1], "validation": [2], "test": [3]}),
        (
            {"trainval": "000001 \n000002\n\n", "test": "000003"},
            {"train": [0, 1], "validation": [], "test": [2]},
        ),
        (
            {"train": "000001", "val": "000002", "trainval": "000001\n000002"},
            {"train": [0], "validation": [], "test": [1]},
        ),
    ],
    ids=["2007", "trainval and test", "2012, without test"],
)
def test_the_set_files_split_the_photos(
    tmp_path: Path, sets: dict[str, str], expected: dict[str, list[int]]
) -> None:
    assert rows(read_voc(voc(tmp_path, sets)).photos) == expected


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ({}, r"needs train\.txt and val\.txt.* it has none of them"),
        ({"train": "000001"}, r"it has train\.txt"),
        ({"train": "000001", "val": "\n"}, r"val\.txt names no photos"),
        ({"train": "000001", "val": "../000002"}, r"val\.txt: '\.\./000002' is not a photo name"),
        ({"train": "000001", "val": "000001"}, "the photo 000001 is in more than one of"),
        ({"train": "000001", "val": "000009"}, r"000009\.xml: cannot be read"),
        ({"train": "000003", "val": "000003x"}, r"000003x\.xml: cannot be read"),
    ],
)
def test_set_files_that_do_not_fit_are_refused(
    tmp_path: Path, sets: dict[str, str], sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        read_voc(voc(tmp_path, sets))


BOMB = '<!DOCTYPE a [<!ENTITY b "boom"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'
OUTSIDE = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (BOMB.encode(), r"000001\.xml is not an annotation: it has a document type"),
        (BOMB.encode("utf-16"), "it has a document type"),
        (OUTSIDE.encode(), "it has a document type"),
        (b"<annotation><object></annotation>", r"000001\.xml is not an annotation: mismatched tag"),
        (b"\xff\xfe\x00", "is not an annotation"),
        (b"<annotation>&b;</annotation>", "is not an annotation: undefined entity"),
        (b"<html><body/></html>", "is not an annotation: it begins with <html>"),
        (b'<?xml version="1.0" encoding="foo"?><annotation/>', "is not an annotation: unknown enc"),
        (b"<annotation><object><name> </name></object></annotation>", "an object has no name"),
    ],
)
def test_xml_that_is_not_an_annotation_is_refused(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (voc(tmp_path) / "Annotations/000001.xml").write_bytes(content)
    with pytest.raises(DatasetError, match=sentence):
        read_voc(tmp_path)


def test_missing_photos_and_objects_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no folder"):
        read_voc(tmp_path / "nowhere")
    root = voc(tmp_path / "a")
    (root / "JPEGImages/000004.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 4 photos .*JPEGImages/000004\.jpg"):
        read_voc(root)
    with pytest.raises(DatasetError, match="names no objects"):
        (
            voc(tmp_path / "b", {"train": "000003", "val": "000001"}) / "Annotations/000001.xml"
        ).write_text(annotation([]))
        read_voc(tmp_path / "b")
