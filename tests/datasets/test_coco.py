"""COCO's instances files: images, annotations and categories become photos and labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.datasets.coco import read_coco
from mkt_search.errors import DatasetError

CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}, {"id": 9, "name": "emu"}]
TRAIN = {
    "images": [{"id": 7, "file_name": "b.jpg"}, {"id": 5, "file_name": "a.jpg"}],
    "annotations": [
        {"image_id": 7, "category_id": 3, "iscrowd": 1, "bbox": [0, 0, 5, 5]},
        {"image_id": 7, "category_id": 1, "iscrowd": 0},
        {"image_id": 7, "category_id": 1, "iscrowd": 0},
    ],
    "categories": CATEGORIES,
}
VAL = {
    "images": [{"id": 5, "file_name": "c.jpg"}],
    "annotations": [{"image_id": 5, "category_id": 9}],
    "categories": CATEGORIES[::-1],
}


def write(folder: Path, content: Any, name: str = "instances_train2017.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


def photos(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo")
    return folder


def test_a_category_without_annotation_is_absent_and_a_crowd_shows_its_category(
    tmp_path: Path,
) -> None:
    found = read_coco(photos(tmp_path / "p", "a.jpg", "b.jpg"), write(tmp_path, TRAIN))
    assert found.dataset.files == ("a.jpg", "b.jpg") and found.photos is None
    assert found.dataset.labels == ("cat", "dog", "emu")
    assert found.dataset.targets.tolist() == [[-1, -1, -1], [1, 1, -1]]


def test_a_pair_of_files_gives_train_and_test_photos_in_their_folders(tmp_path: Path) -> None:
    write(tmp_path / "annotations", TRAIN)
    write(tmp_path / "annotations", VAL, "instances_val2017.json")
    root = photos(tmp_path / "p", "train2017/a.jpg", "train2017/b.jpg", "val2017/c.jpg")
    found = read_coco(root, tmp_path / "annotations")
    assert found.dataset.files == ("train2017/a.jpg", "train2017/b.jpg", "val2017/c.jpg")
    assert found.photos is not None and not len(found.photos.validation)
    assert found.photos.train.tolist() == [0, 1] and found.photos.test.tolist() == [2]
    assert found.dataset.targets[2].tolist() == [-1, -1, 1]


SHOWN = st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=5)


@given(SHOWN)
@settings(max_examples=25, deadline=None)
def test_written_annotations_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, shown: list[set[int]]
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(len(shown))],
        "annotations": [
            {"image_id": i, "category_id": c} for i, chosen in enumerate(shown) for c in chosen
        ],
        "categories": [{"id": c, "name": f"label {c}"} for c in range(4)],
    }
    names = [f"{i}.jpg" for i in range(len(shown))]
    found = read_coco(photos(folder / "p", *names), write(folder, content)).dataset
    expected = [[1 if c in chosen else -1 for c in range(4)] for chosen in shown]
    np.testing.assert_array_equal(found.targets, expected)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": None}, 'no list "images"'),
        ({"annotations": {}}, 'no list "annotations"'),
        ({"categories": []}, "names no images or no categories"),
        ({"images": [{"id": 1}]}, "images 0 needs id and file_name"),
        ({"images": [{"id": 1, "file_name": 2}]}, "file_name of images must be text"),
        ({"annotations": [{"image_id": 7}]}, "annotations 0 needs image_id and category_id"),
        ({"annotations": [{"image_id": [7], "category_id": 1}]}, "annotations 0 needs image_id"),
        ({"annotations": [{"image_id": 8, "category_id": 1}]}, "annotation 0 names image 8"),
        ({"annotations": [{"image_id": 7, "category_id": 2}]}, "annotation 0 names category 2"),
        ({"images": TRAIN["images"] * 2}, "the id 7 of images occurs twice"),
        ({"categories": [*CATEGORIES, {"id": 4, "name": "cat "}]}, "'cat' occurs twice"),
        ({"images": [{"id": 7, "file_name": "z.jpg"}]}, r"1 of the 1 photos .* 'z.jpg'"),
        (
            {"images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "a.jpg"}]},
            "image 'a.jpg' is named twice",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_the_place(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    file = write(tmp_path, {**TRAIN, **change})
    with pytest.raises(DatasetError, match=sentence) as caught:
        read_coco(photos(tmp_path / "p", "a.jpg", "b.jpg"), file)
    assert str(tmp_path) in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    root = photos(tmp_path / "p", "a.jpg", "b.jpg", "c.jpg")
    with pytest.raises(DatasetError, match=r"no folder .*nowhere"):
        read_coco(tmp_path / "nowhere", tmp_path / "i.json")
    with pytest.raises(DatasetError, match=r"i\.json: cannot be read"):
        read_coco(root, tmp_path / "i.json")
    write(tmp_path / "annotations", TRAIN)
    with pytest.raises(DatasetError, match=r"annotations has 0 files instances_val\*\.json"):
        read_coco(root, tmp_path / "annotations")
    write(tmp_path / "annotations", {**VAL, "categories": []}, "instances_val.json")
    with pytest.raises(DatasetError, match="names no images or no categories"):
        read_coco(root, tmp_path / "annotations")


def test_files_with_different_categories_are_refused(tmp_path: Path) -> None:
    write(tmp_path, TRAIN)
    other = [*CATEGORIES[1:], {"id": 3, "name": "hound"}]
    write(tmp_path, {**VAL, "categories": other}, "instances_val2017.json")
    with pytest.raises(DatasetError, match=r"have different categories"):
        read_coco(photos(tmp_path / "p", "a.jpg", "b.jpg", "c.jpg"), tmp_path)
