"""The settings name a dataset; its photos and labels are split by files or by a seed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mkt_search.datasets.read import SplitDataset, read
from mkt_search.errors import DatasetError
from mkt_search.settings.config import DataConfig
from tests.datasets.test_coco import TRAIN, VAL, photos, write
from tests.datasets.test_nus_wide import SEEN, UNSEEN, nus_wide
from tests.datasets.test_open_images import open_images
from tests.datasets.test_voc import voc
from tests.messages import Messages

COLOURS = ("blue", "green", "red", "yellow")


def folder(root: Path) -> DataConfig:
    """Twelve photos, each of two colours."""
    shown = {f"{i:02}.jpg": [COLOURS[i % 4], COLOURS[(i // 4 + i + 1) % 4]] for i in range(12)}
    (root / "labels.json").write_text(json.dumps(shown))
    return DataConfig(
        photos=str(photos(root / "photos", *shown)), labels=str(root / "labels.json"), min_photos=1
    )


def splits(found: SplitDataset) -> dict[str, list[int]]:
    return {part: rows.tolist() for part, rows in vars(found.photos).items()}


def test_columns_are_the_seen_labels_then_the_unseen_ones(tmp_path: Path) -> None:
    found = read(replace(folder(tmp_path), unseen_fraction=0.5))
    assert len(found.labels.seen) == len(found.labels.unseen) == 2
    assert found.dataset.labels == (*found.labels.seen, *found.labels.unseen)
    assert sorted(row for rows in splits(found).values() for row in rows) == list(range(12))


def test_labels_without_a_vector_are_left_out_and_reported(tmp_path: Path) -> None:
    messages = Messages()
    found = read(folder(tmp_path), is_known=lambda label: label != "red", progress=messages)
    assert set(found.dataset.labels) == {"blue", "green", "yellow"}
    assert "left out 1 label with no vector in the label table: red" in messages


def test_labels_without_photos_are_reported_by_count_and_name(tmp_path: Path) -> None:
    data = folder(tmp_path)
    shows = {f"{i}.jpg": {"labels": ["red", "blue"], "absent": ["ufo", "yeti"]} for i in range(3)}
    shows["4.jpg"] = {"labels": ["blue"], "absent": ["red"]}
    photos(tmp_path / "photos", *shows)
    (tmp_path / "labels.json").write_text(json.dumps(shows))
    rows = "".join(f"{name},{'test' if name == '4.jpg' else 'train'}\n" for name in shows)
    (tmp_path / "splits.csv").write_text(f"file,split\n{rows}")
    messages = Messages()
    data = replace(data, splits=str(tmp_path / "splits.csv"), validation="none")
    read(data, progress=messages)
    assert messages == [
        "left out 2 labels with no training photo: ufo, yeti",
        "no test photo shows 1 label: red",
    ]


def test_photos_that_a_splits_file_leaves_out_are_reported(tmp_path: Path) -> None:
    data = folder(tmp_path)
    names = sorted(json.loads(Path(data.labels).read_text()))
    parts = ["val", *("train", "test") * len(names)]
    (tmp_path / "splits.json").write_text(json.dumps(dict(zip(names, parts, strict=False))))
    messages = Messages()
    read(replace(data, splits=str(tmp_path / "splits.json"), validation="none"), progress=messages)
    assert (
        f"left out 1 photo that --splits assigns to neither train nor test: {names[0]}" in messages
    )


def test_coco_keeps_its_test_photos_and_draws_unseen_labels(tmp_path: Path) -> None:
    write(tmp_path / "annotations", TRAIN)
    write(tmp_path / "annotations", VAL, "instances_val2017.json")
    data = DataConfig(
        kind="coco",
        photos=str(photos(tmp_path / "p", "a.jpg", "b.jpg", "c.jpg")),
        labels=str(tmp_path / "annotations"),
        min_photos=1,
        validation="none",
        unseen_fraction=0.0,
    )
    messages = Messages()
    found = read(data, progress=messages)
    assert splits(found) == {"train": [0, 1], "validation": [], "test": [2]}
    assert found.labels.seen == ("cat", "dog")
    assert "left out 1 label with no training photo: emu" in messages
    assert "no test photo shows 2 labels: cat, dog" in messages


def test_voc_holds_out_its_own_validation_photos(tmp_path: Path) -> None:
    data = DataConfig(kind="voc", photos=str(voc(tmp_path)), min_photos=1, unseen_fraction=0.0)
    found = read(data)
    assert splits(found) == {"train": [0, 1], "validation": [2], "test": [3]}
    joined = read(replace(data, validation="none"))
    assert splits(joined) == {"train": [0, 1, 2], "validation": [], "test": [3]}


def test_min_photos_does_not_change_the_lists_of_nus_wide(tmp_path: Path) -> None:
    data = DataConfig(kind="nus-wide", photos=str(nus_wide(tmp_path)), validation="test")
    messages = Messages()
    found = read(data, progress=messages)
    assert found.labels.seen == tuple(SEEN) and found.labels.unseen == tuple(UNSEEN)
    assert splits(found) == {"train": [0, 1], "validation": [2, 3], "test": [2, 3]}
    assert "no training photo shows 1 label: red" in messages
    assert "no test photo shows 2 labels: actor, zebra" in messages


def test_labels_without_a_vector_are_left_out_of_a_datasets_own_lists(tmp_path: Path) -> None:
    data = DataConfig(kind="nus-wide", photos=str(nus_wide(tmp_path)), validation="test")
    messages = Messages()
    found = read(data, is_known=lambda name: name != "airport", progress=messages)
    assert found.labels.unseen == ("zebra",)
    assert "left out 1 label with no vector in the label table: airport" in messages


def test_open_images_keep_their_own_photos_and_labels(tmp_path: Path) -> None:
    root, labels = open_images(tmp_path)
    data = DataConfig(kind="open-images", photos=str(root), labels=str(labels))
    found = read(data)
    assert splits(found) == {"train": [0, 1, 2], "validation": [3], "test": [4]}
    assert len(found.labels.seen) == 3 and len(found.labels.unseen) == 2


def test_files_of_unseen_labels_and_splits_override_the_published_ones(
    tmp_path: Path,
) -> None:
    (tmp_path / "unseen.txt").write_text("actor\n")
    data = DataConfig(
        kind="nus-wide",
        photos=str(nus_wide(tmp_path / "nus")),
        unseen=str(tmp_path / "unseen.txt"),
        splits=str(tmp_path / "splits.json"),
        min_photos=1,
        validation="none",
    )
    files = read(replace(data, splits="", unseen="")).dataset.files
    parts = dict(zip(files, ("test", "train", "train", "train"), strict=True))
    (tmp_path / "splits.json").write_text(json.dumps(parts))
    found = read(data)
    assert splits(found) == {"train": [1, 2, 3], "validation": [], "test": [0]}
    assert found.labels.unseen == ("actor",) and "airport" in found.labels.seen


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"photos": ""}, "--photos is missing"),
        ({"labels": ""}, "--labels is missing; name the file that maps"),
        ({"kind": "coco", "labels": ""}, "--labels is missing; name the instances file"),
        ({"kind": "voc"}, "--kind voc reads its labels from the folder.*leave out --labels"),
        ({"kind": "nus-wide"}, "--kind nus-wide reads its labels"),
        ({"unseen_fraction": 0.9}, "1 label left to train on, two are needed"),
        ({"kind": "open-images"}, "no folder .*labels.json"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DatasetError, match=sentence):
        read(replace(folder(tmp_path), **changes))
