"""NUS-WIDE as published: pickled names, labels in HDF5, 925 seen and 81 unseen in two lists."""

import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.datasets.nus_wide import path_of, read_concepts, read_nus_wide
from mkt_search.errors import DatasetError
from tests.messages import Messages

SEEN, UNSEEN = ["sky blue", "actor", "red"], ["airport", "zebra"]
TRAIN = {"actor_0001_21.jpg": [1, -1, 0], "big_cat_0002_7.jpg": [-1, 1, -1]}
TEST = {"actor_0003_5.jpg": [1, 0, -1, 1, -1], "zoo_0001_6.jpg": [-1, -1, 1, -1, 0]}
Labels = Mapping[str, Sequence[int]]


def nus_wide(root: Path, train: Labels = TRAIN, test: Labels = TEST) -> Path:
    (root / "features").mkdir(parents=True)
    (root / "Concepts925.txt").write_text("\n".join(SEEN) + "\n")
    (root / "Concepts81.txt").write_text("".join(f"{i}\t{n}\n" for i, n in enumerate(UNSEEN)))
    for file, part in {"img_names.pkl": train, "test_img_names.pkl": test}.items():
        (root / file).write_bytes(pickle.dumps({"img_names": list(part)}))
    for name in (*train, *test):
        (root / path_of(name)).parent.mkdir(parents=True, exist_ok=True)
        (root / path_of(name)).write_bytes(b"a photo")
    further = {f"{name}-labels_81": values[3:] for name, values in test.items()}
    write(root, "train", {f"{name}-labels": values for name, values in train.items()})
    write(root, "test", {f"{name}-labels": values for name, values in test.items()} | further)
    return root


def write(root: Path, part: str, arrays: Mapping[str, Any]) -> None:
    """Write arrays as the published extraction did: int8, gzip, beside the features."""
    with h5py.File(root / f"features/nus_wide_{part}.h5", "w") as file:
        for key, values in arrays.items():
            file.create_dataset(key, data=np.asarray(values), compression="gzip")
            file.create_dataset(f"{key}-features", data=np.zeros((2, 3), np.float32))


def test_the_files_define_photos_labels_and_both_splits(tmp_path: Path) -> None:
    found = read_nus_wide(nus_wide(tmp_path))
    assert found.dataset.files == (
        *("Flickr/actor/0001_21.jpg", "Flickr/big_cat/0002_7.jpg"),
        *("Flickr/actor/0003_5.jpg", "Flickr/zoo/0001_6.jpg"),
    )
    assert found.dataset.labels == (*SEEN, *UNSEEN)
    assert found.labels is not None and found.photos is not None
    assert found.labels.seen == tuple(SEEN) and found.labels.unseen == tuple(UNSEEN)
    assert found.photos.train.tolist() == [0, 1] and found.photos.test.tolist() == [2, 3]
    assert not len(found.photos.validation)
    assert found.dataset.targets.tolist() == [
        *([1, -1, 0, 0, 0], [-1, 1, -1, 0, 0]),  # unseen labels of training photos: unknown
        *TEST.values(),
    ]


VALUES = st.lists(
    st.lists(st.integers(-1, 1), min_size=5, max_size=5).map(lambda v: [-1, *v[1:]]),
    min_size=1,
    max_size=4,
)


@given(VALUES)
@settings(max_examples=15, deadline=None)
def test_every_value_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, values: list[list[int]]
) -> None:
    root = tmp_path_factory.mktemp("nus")
    test = {f"test_0_{i}.jpg": row for i, row in enumerate(values)}
    train = {f"train_0_{i}.jpg": row[:3] for i, row in enumerate(values)}
    found = read_nus_wide(nus_wide(root, train, test)).dataset.targets
    np.testing.assert_array_equal(found[len(values) :], values)
    np.testing.assert_array_equal(found[: len(values), :3], np.array(values)[:, :3])


def test_unseen_labels_of_training_photos_are_read_where_given(tmp_path: Path) -> None:
    arrays = {f"{name}-labels": values for name, values in TRAIN.items()}
    write(nus_wide(tmp_path), "train", {**arrays, "actor_0001_21.jpg-labels_81": [-1, 1]})
    targets = read_nus_wide(tmp_path).dataset.targets
    assert targets[0].tolist() == [1, -1, 0, -1, 1] and targets[1, 3:].tolist() == [0, 0]


def test_labels_81_decide_the_unseen_labels_and_a_conflict_is_reported(tmp_path: Path) -> None:
    arrays = {f"{name}-labels": values for name, values in TEST.items()}
    more = {f"{name}-labels_81": [1, 1] for name in TEST}
    write(nus_wide(tmp_path), "test", arrays | more)
    messages = Messages()
    targets = read_nus_wide(tmp_path, messages).dataset.targets
    assert targets[2:, 3:].tolist() == [[1, 1], [1, 1]]
    assert "differ in the unseen labels of 2 photos; -labels_81 is used" in messages[0]


def test_photos_not_on_disk_are_left_out_and_named(tmp_path: Path) -> None:
    (nus_wide(tmp_path) / "Flickr/big_cat/0002_7.jpg").unlink()
    messages = Messages()
    found = read_nus_wide(tmp_path, messages)
    assert len(found.dataset) == 3 and found.photos is not None
    assert found.photos.train.tolist() == [0] and found.photos.test.tolist() == [1, 2]
    assert messages == [f"left out 1 photo not in {tmp_path}: Flickr/big_cat/0002_7.jpg"]


@pytest.mark.parametrize(
    "name", ["img_names.pkl", "test_img_names.pkl", "Concepts925.txt", "Concepts81.txt"]
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (nus_wide(tmp_path) / name).unlink()
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read \(No such file"):
        read_nus_wide(tmp_path)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_missing_or_broken_h5_is_named(tmp_path: Path, part: str) -> None:
    file = nus_wide(tmp_path) / f"features/nus_wide_{part}.h5"
    file.write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match=rf"nus_wide_{part}\.h5 is not an HDF5 file"):
        read_nus_wide(tmp_path)
    file.unlink()
    with pytest.raises(DatasetError, match=rf"nus_wide_{part}\.h5 is missing"):
        read_nus_wide(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({}, r"actor_0001_21\.jpg-labels is missing"),
        ({"actor_0001_21.jpg-labels": [1, -1]}, r"has the shape \(2,\), expected \(3,\)"),
        ({"actor_0001_21.jpg-labels": [1, -1, 2]}, "values other than 1, 0 and -1"),
        ({"actor_0001_21.jpg-labels": [b"a", b"b", b"c"]}, "values other than 1, 0 and -1"),
        ({"actor_0001_21.jpg-labels/a": [1]}, "is a group, not an array"),
    ],
)
def test_malformed_arrays_are_refused_with_their_key(
    tmp_path: Path, arrays: dict[str, Any], sentence: str
) -> None:
    write(nus_wide(tmp_path), "train", arrays)
    with pytest.raises(DatasetError, match=rf"nus_wide_train\.h5: .*{sentence}"):
        read_nus_wide(tmp_path)


def test_labels_without_any_absent_one_are_refused(tmp_path: Path) -> None:
    ones = {name: [1, 0, 0] for name in TRAIN}
    with pytest.raises(DatasetError, match=r"nus_wide_train\.h5 has no -1"):
        read_nus_wide(nus_wide(tmp_path, ones))


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (["a_0_1.jpg"], "must hold"),
        ({"img_names": []}, "must hold"),
        ({"img_names": ["a_1.jpg"]}, r"'a_1\.jpg' is not a photo name"),
        ({"img_names": ["../a_0_1.jpg"]}, "is not a photo name"),
        ({"img_names": [".._0_1.jpg"]}, "is not a photo name"),
        ({"img_names": [3]}, "3 is not a photo name"),
        ({"img_names": ["a_0_1.jpg", "a_0_1.jpg"]}, "names a photo twice"),
        ({"img_names": list(TEST)}, "img_names.pkl and test_img_names.pkl of .* share 2 photos"),
        ({"img_names": Path("a")}, r"holds pathlib.*is not loaded"),
    ],
)
def test_wrong_names_are_refused(tmp_path: Path, held: Any, sentence: str) -> None:
    (nus_wide(tmp_path) / "img_names.pkl").write_bytes(pickle.dumps(held))
    with pytest.raises(DatasetError, match=sentence):
        read_nus_wide(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n", "names no labels"),
        ("a\n\nb\n", "c.txt:2: the line is empty"),
        ("a\nb\na\n", "c.txt:3: 'a' occurs twice"),
    ],
)
def test_wrong_lists_of_labels_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(DatasetError, match=sentence):
        read_concepts(tmp_path / "c.txt")


def test_a_label_in_both_lists_is_refused_with_the_rule(tmp_path: Path) -> None:
    (nus_wide(tmp_path) / "Concepts925.txt").write_text("sky blue\nzebra\nred\n")
    with pytest.raises(DatasetError, match=r"share 1 label: zebra\. .*without those"):
        read_nus_wide(tmp_path)


def test_a_dataset_without_photos_is_refused(tmp_path: Path) -> None:
    nus_wide(tmp_path)
    for name in TEST:
        (tmp_path / path_of(name)).unlink()
    with pytest.raises(DatasetError, match=r"none of the 2 photos .*test_img_names\.pkl names"):
        read_nus_wide(tmp_path)
    with pytest.raises(DatasetError, match="no folder"):
        read_nus_wide(tmp_path / "nowhere")


def test_a_missing_h5py_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nus_wide(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DatasetError, match=r"needs h5py.*mkt-search\[datasets\]"):
        read_nus_wide(tmp_path)
