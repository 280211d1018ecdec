"""Seen and unseen labels, train and test photos: drawn by a seed or read from files."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.datasets.split import (
    PhotoSplit,
    draw_splits,
    draw_unseen,
    read_splits,
    read_unseen,
    split_photos,
    split_published,
    usable_labels,
)
from mkt_search.errors import DatasetError

FILES = ("a.jpg", "b.jpg", "c.jpg")
LABELS = [f"label {i:02}" for i in range(11)]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.json", '{"a.jpg": "train", "b.jpg": "test", "c.jpg": "val", "d.jpg": "train"}'),
        ("s.csv", "file,split\nc.jpg,val\na.jpg,train\nb.jpg,test\n"),
    ],
)
def test_a_splits_file_assigns_train_and_test(tmp_path: Path, name: str, text: str) -> None:
    train, test = read_splits(write(tmp_path / name, text), FILES)
    assert train.tolist() == [0] and test.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a.jpg": "train"}', "no entry for 2 labeled photos; the first is 'b.jpg'"),
        ('{"a.jpg": "train", "b.jpg": "train", "c.jpg": "train"}', 'no labeled photo to "test"'),
        ('["a.jpg"]', "must be one object"),
    ],
)
def test_a_malformed_splits_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence):
        read_splits(write(tmp_path / "s.json", text), FILES)


def test_a_drawn_split_follows_its_seed_and_loses_no_photo() -> None:
    train, test = draw_splits(100, test_fraction=0.1, seed=3)
    again, _ = draw_splits(100, test_fraction=0.1, seed=3)
    other, _ = draw_splits(100, test_fraction=0.1, seed=4)
    assert len(test) == 10 and sorted([*train, *test]) == list(range(100))
    assert train.tolist() == again.tolist() != other.tolist()


def test_validation_photos_are_held_out_of_train_and_never_the_test_photos() -> None:
    train, test = np.arange(80), np.arange(80, 100)
    parts = split_photos(train, test, validation="held-out", fraction=0.25, seed=0)
    assert len(parts.validation) == 20
    assert sorted([*parts.train, *parts.validation]) == train.tolist()
    assert parts.test.tolist() == test.tolist()


def test_validation_may_be_the_test_photos_or_none() -> None:
    train, test = np.arange(8), np.arange(8, 10)
    assert split_photos(train, test, validation="none", fraction=0, seed=0).validation.size == 0
    on_test = split_photos(train, test, validation="test", fraction=0, seed=0)
    assert on_test.validation.tolist() == test.tolist() and on_test.train.tolist() == train.tolist()


def test_published_validation_photos_are_held_out_or_join_train() -> None:
    given = PhotoSplit(np.arange(4), np.arange(4, 6), np.arange(6, 9))
    split = {"fraction": 0.5, "seed": 0}
    assert split_published(given, validation="held-out", **split) is given
    joined = split_published(given, validation="none", **split)
    assert joined.train.tolist() == list(range(6)) and not len(joined.validation)
    on_test = split_published(given, validation="test", **split)
    assert on_test.validation.tolist() == on_test.test.tolist() == [6, 7, 8]


def test_validation_photos_are_drawn_if_none_are_published() -> None:
    given = PhotoSplit(np.arange(4), np.arange(0), np.arange(4, 6))
    drawn = split_published(given, validation="held-out", fraction=0.25, seed=0)
    assert len(drawn.validation) == 1 and sorted([*drawn.train, *drawn.validation]) == [0, 1, 2, 3]


@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.0, -1.0])
def test_a_fraction_that_leaves_nothing_is_refused(fraction: float) -> None:
    with pytest.raises(DatasetError, match="at least one"):
        draw_splits(10, test_fraction=fraction, seed=0)


def test_drawn_unseen_labels_are_a_fifth_by_seed() -> None:
    labels = draw_unseen(LABELS, fraction=0.2, seed=1)
    chosen = np.random.default_rng(1).choice(11, 2, replace=False)
    assert labels.unseen == tuple(sorted(LABELS[i] for i in chosen))
    assert sorted([*labels.seen, *labels.unseen]) == LABELS
    assert draw_unseen(LABELS, fraction=0.0, seed=1).unseen == ()


def test_unseen_labels_come_from_a_file(tmp_path: Path) -> None:
    labels = read_unseen(write(tmp_path / "u.txt", "label 03\n\n label 01 \n"), LABELS)
    assert labels.unseen == ("label 01", "label 03") and "label 03" not in labels.seen


def test_a_file_of_unseen_labels_must_name_labels_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"names 1 label that are not .*: zebra\. Take them out"):
        read_unseen(write(tmp_path / "u.txt", "zebra\n"), LABELS)
    with pytest.raises(DatasetError, match="names every label"):
        read_unseen(write(tmp_path / "u.txt", "\n".join(LABELS)), LABELS)


def dataset_with(counts: dict[str, int], photos: int = 10) -> PhotoDataset:
    targets = np.full((photos, len(counts)), -1, np.int8)
    for column, count in enumerate(counts.values()):
        targets[:count, column] = 1
    return PhotoDataset(Path(), tuple(map(str, range(photos))), tuple(counts), targets)


def test_rare_and_unknown_labels_are_left_out_and_named() -> None:
    dataset = dataset_with({"cat": 5, "dog": 4, "gnu": 2, "yak": 9, "emu": 0})
    usable = usable_labels(
        dataset, np.arange(8), min_photos=4, is_known={"cat", "dog", "gnu"}.__contains__
    )
    assert usable.names == ("cat", "dog")
    assert usable.describe(4) == [
        "left out 1 label with no training photo: emu",
        "left out 1 label with fewer than 4 training photos (--min-photos): gnu",
        "left out 1 label with no vector in the label table: yak",
    ]


def test_only_training_photos_count_for_a_label() -> None:
    dataset = dataset_with({"cat": 5, "dog": 5, "gnu": 3})
    usable = usable_labels(dataset, np.arange(2, 10), min_photos=3, is_known=lambda label: True)
    assert usable.names == ("cat", "dog")


def test_too_few_usable_labels_are_an_error_with_the_ways_out() -> None:
    with pytest.raises(DatasetError, match=r"0 of 1 labels .*--min-photos.*--label-table"):
        usable_labels(dataset_with({"cat": 1}), np.arange(9), min_photos=5, is_known=bool)


def test_a_splits_file_that_is_not_csv_is_refused_with_its_line(tmp_path: Path) -> None:
    field = "x" * 200_000  # more than a field of the csv module holds
    with pytest.raises(DatasetError, match=r"s\.csv:\d: not CSV: field larger"):
        read_splits(write(tmp_path / "s.csv", f"file,split\na.jpg,{field}\n"), FILES)
