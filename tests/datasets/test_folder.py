"""A folder and a labels file become a dataset; every mistake in them is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.datasets.folder import read_dataset
from mkt_search.errors import DatasetError

JSON = '{"a.jpg": ["sky", "sea"], "b.jpg": ["sky"], "c.jpg": []}'
JSONL = """{"file": "a.jpg", "labels": ["sky", "sea"]}

{"file": "b.jpg", "labels": ["sky"]}
{"file": "c.jpg", "labels": []}
"""
CSV = "file,labels\nb.jpg,sky\na.jpg,sky; sea\nc.jpg,\n"
CSV_BY_ROW = "file,label\na.jpg,sky\na.jpg,sea\nb.jpg,sky\nc.jpg,\n"


def folder_of(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "photos"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo")
    return folder


def read(tmp_path: Path, text: str, name: str) -> PhotoDataset:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_dataset(folder_of(tmp_path, "a.jpg", "b.jpg", "c.jpg"), tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [("l.json", JSON), ("l.jsonl", JSONL), ("l.csv", CSV), ("rows.csv", CSV_BY_ROW)],
)
def test_every_format_gives_the_same_dataset(tmp_path: Path, name: str, text: str) -> None:
    dataset = read(tmp_path, text, name)
    assert dataset.files == ("a.jpg", "b.jpg", "c.jpg")
    assert dataset.labels == ("sea", "sky")
    np.testing.assert_array_equal(dataset.targets, [[1, 1], [-1, 1], [-1, -1]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.json", '{"a.jpg": {"labels": ["sky"], "absent": ["sea"]}, "b.jpg": ["sky", "sun"]}'),
        ("l.csv", "file,labels,absent\na.jpg,sky,sea\n"),
    ],
)
def test_listed_absent_labels_leave_the_others_unknown(
    tmp_path: Path, name: str, text: str
) -> None:
    dataset = read(tmp_path, text, name)
    targets = dict(zip(dataset.labels, dataset.targets[0], strict=True))
    assert targets["sky"] == 1 and targets["sea"] == -1 and targets.get("sun", 0) == 0


def test_only_selects_and_orders_labels(tmp_path: Path) -> None:
    dataset = read(tmp_path, JSON, "l.json").only(["sky"])
    assert dataset.labels == ("sky",) and dataset.targets.tolist() == [[1], [1], [-1]]


def test_photos_in_subfolders_are_named_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text(json.dumps({"trip/é 1.jpg": ["sky"]}))
    dataset = read_dataset(folder_of(tmp_path, "trip/é 1.jpg"), tmp_path / "l.json")
    assert dataset.files == ("trip/é 1.jpg",)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "l.json",
            '{"a.jpg": ["sky"], "x.jpg": ["sea"]}',
            r"1 of the 2 photos .* 'x.jpg'.*--photos",
        ),
        ("l.json", '{"a.jpg": ["sky"],\n "b.jpg" []}', r"l.json:2: not JSON"),
        ("l.json", '["a.jpg"]', r"must be one object"),
        ("l.json", '{"a.jpg": "sky"}', r"'a.jpg': labels must be a list"),
        ("l.json", '{"a.jpg": []}', r"names no labels"),
        ("l.json", "{}", r"names no photos"),
        ("l.jsonl", '{"file": "a.jpg", "labels": ["sky"]}\n{"name": 1}', r"l.jsonl:2: expected"),
        ("l.jsonl", "sky", r"l.jsonl:1: not JSON"),
        ("l.csv", "photo,labels\na.jpg,sky\n", r"l.csv:1: expected the header file,labels"),
        ("l.csv", "file,labels\na.jpg,sky,sea\n", r"l.csv:2: expected 2 columns"),
        ("l.csv", "file,labels\na.jpg\n", r"l.csv:2: expected 2 columns"),
        ("l.csv", "file,labels\na.jpg," + "x" * 200_000, r"l.csv:\d: not CSV: field larger"),
        ("l.txt", "sky", r"none of .json, .jsonl, .csv"),
    ],
)
def test_a_malformed_labels_file_is_refused_with_the_place(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        read(tmp_path, text, name)


def test_missing_folder_and_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder .*nowhere.*--photos"):
        read_dataset(tmp_path / "nowhere", tmp_path / "l.json")
    with pytest.raises(DatasetError, match=r"l\.json: cannot be read \(No such file"):
        read_dataset(tmp_path, tmp_path / "l.json")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes("file,labels\na.jpg,Küste\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_dataset(folder_of(tmp_path, "a.jpg"), tmp_path / "l.csv")
