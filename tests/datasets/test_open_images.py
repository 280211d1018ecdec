"""Open Images v4: verified labels from CSV files, seen and unseen labels from published lists."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkt_search.datasets.open_images import read_open_images
from mkt_search.errors import DatasetError
from tests.messages import Messages

DESCRIPTIONS = """/m/01,Tortoise
/m/02,"Cat, black"
/m/03,Organ
/m/04,Organ
/m/05,Zebra crossing
/m/06,Never asked for
"""
SEEN = "/m/02\n/m/01\n/m/03\n"
LISTED = np.array(["/m/06", "/m/05", "/m/04"], object)
HEADER = "ImageID,Source,LabelName,Confidence\n"
LINES = {
    "train": "b1,verification,/m/01,1\nb1,verification,/m/02,0\na2,verification,/m/06,1\n"
    "a1,verification,/m/01,0\na1,verification,/m/01,1\nz9,verification,/m/01,1\n",
    "validation": "c1,crowdsource-verification,/m/03,1\n",
    "test": "d1,verification,/m/05,1\nd1,verification,/m/04,0.0\n",
}
THERE = ("train/a1", "train/a2", "train/b1", "train/unlabelled", "validation/c1", "test/d1")


def open_images(root: Path) -> tuple[Path, Path]:
    """Write the dataset and return its photo folder and its CSV folder."""
    photos, labels = root / "photos", root / "2018_04"
    for name in THERE:
        (photos / f"{name}.jpg").parent.mkdir(parents=True, exist_ok=True)
        (photos / f"{name}.jpg").write_bytes(b"a photo")
    labels.mkdir()
    (labels / "class-descriptions.csv").write_text(DESCRIPTIONS)
    (labels / "classes-trainable.txt").write_text(SEEN)
    (labels / "top_400_unseen.csv").write_text("1\n2\n")
    (labels / "unseen_labels.pkl").write_bytes(pickle.dumps(LISTED))
    for part, lines in LINES.items():
        (labels / f"{part}-annotations-human-imagelabels.csv").write_text(HEADER + lines)
    return photos, labels


def test_verified_labels_are_known_and_all_others_unknown(tmp_path: Path) -> None:
    messages = Messages()
    found = read_open_images(*open_images(tmp_path), messages)
    assert found.dataset.files == (
        *("train/a1.jpg", "train/a2.jpg", "train/b1.jpg"),
        *("validation/c1.jpg", "test/d1.jpg"),
    )
    assert found.labels is not None and found.photos is not None
    assert found.labels.seen == ("Cat, black", "Tortoise", "Organ (/m/03)")
    assert found.labels.unseen == ("Zebra crossing", "Organ (/m/04)")
    assert found.dataset.labels == (*found.labels.seen, *found.labels.unseen)
    assert found.dataset.targets.tolist() == [
        *([0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [-1, 1, 0, 0, 0]),  # the later of two lines
        *([0, 0, 1, 0, 0], [0, 0, 0, 1, -1]),
    ]
    parts = {name: rows.tolist() for name, rows in vars(found.photos).items()}
    assert parts == {"train": [0, 1, 2], "validation": [3], "test": [4]}
    assert messages == [
        "several labels share a name and get their MID appended: Organ",
        "left out 1 photo of train-annotations-human-imagelabels.csv not in"
        f" {tmp_path / 'photos/train'}",
    ]


def test_annotations_may_be_in_a_folder_per_part_and_of_boxable_labels(
    tmp_path: Path,
) -> None:
    photos, labels = open_images(tmp_path)
    expected = read_open_images(photos, labels).dataset
    for part in LINES:
        (labels / part).mkdir()
        (labels / f"{part}-annotations-human-imagelabels.csv").rename(
            labels / part / f"{part}-annotations-human-imagelabels-boxable.csv"
        )
    found = read_open_images(photos, labels).dataset
    assert found.files == expected.files
    np.testing.assert_array_equal(found.targets, expected.targets)


def test_validation_photos_may_be_missing(tmp_path: Path) -> None:
    photos, labels = open_images(tmp_path)
    (labels / "validation-annotations-human-imagelabels.csv").unlink()
    found = read_open_images(photos, labels)
    assert found.photos is not None and not len(found.photos.validation)
    assert found.photos.test.tolist() == [3]


def test_the_header_of_later_versions_is_not_a_label(tmp_path: Path) -> None:
    photos, labels = open_images(tmp_path)
    file = labels / "class-descriptions.csv"
    file.write_text("LabelName,DisplayName\n" + DESCRIPTIONS)
    assert "DisplayName" not in read_open_images(photos, labels).dataset.labels


@pytest.mark.parametrize(
    "name",
    [
        *("class-descriptions.csv", "classes-trainable.txt"),
        *("top_400_unseen.csv", "unseen_labels.pkl"),
    ],
)
def test_a_missing_list_is_named(tmp_path: Path, name: str) -> None:
    photos, labels = open_images(tmp_path)
    (labels / name).unlink()
    with pytest.raises(
        DatasetError, match=rf"{name}: cannot be read \(No such file|{name} is missing"
    ):
        read_open_images(photos, labels)


def test_the_error_says_where_to_get_the_lists_of_unseen_labels(tmp_path: Path) -> None:
    photos, labels = open_images(tmp_path)
    (labels / "top_400_unseen.csv").unlink()
    with pytest.raises(DatasetError, match=r"Open Images itself does not define.*akshitac8/BiAM"):
        read_open_images(photos, labels)


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_annotations_and_photos_are_named(tmp_path: Path, part: str) -> None:
    photos, labels = open_images(tmp_path)
    (photos / part).rename(photos / "elsewhere")
    with pytest.raises(DatasetError, match=rf"no folder .*{part}; put the photos of .*there"):
        read_open_images(photos, labels)
    (photos / part).mkdir()
    with pytest.raises(DatasetError, match=rf"none of the \d photos .*{part}-annotations"):
        read_open_images(photos, labels)
    (labels / f"{part}-annotations-human-imagelabels.csv").unlink()
    with pytest.raises(DatasetError, match=rf"no {part}-annotations-human-imagelabels\.csv in"):
        read_open_images(photos, labels)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("class-descriptions.csv", "/m/01\n", r":1: expected a label's MID and name"),
        ("class-descriptions.csv", "/m/01,Tortoise\n", r"lacks 4 labels: /m/02, /m/03"),
        ("classes-trainable.txt", "\n", "must name each trainable label once"),
        ("classes-trainable.txt", "/m/01\n/m/01\n", "must name each trainable label once"),
        ("classes-trainable.txt", "/m/01\n/m/05\n", "lists 1 label as both seen and unseen: /m/05"),
        (
            "top_400_unseen.csv",
            "1\n3\n",
            r":2: expected an index into .*unseen_labels\.pkl, below 3",
        ),
        ("top_400_unseen.csv", "/m/05\n", r":1: expected an index"),
        ("top_400_unseen.csv", "1\n1\n", "must index at least one label, each once"),
        ("top_400_unseen.csv", "", "must index at least one label, each once"),
        ("train-annotations-human-imagelabels.csv", "ImageID,LabelName\n", ":1: expected the col"),
        ("train-annotations-human-imagelabels.csv", "", ":1: expected the columns ImageID"),
        ("train-annotations-human-imagelabels.csv", HEADER + "a1,v,/m/01\n", ":2: expected 4"),
        (
            "train-annotations-human-imagelabels.csv",
            HEADER + "a1,machine,/m/01,0.7\n",
            ":2: expected 4 columns and Confidence 0 or 1",
        ),
        (
            "train-annotations-human-imagelabels.csv",
            HEADER + "x" * 200_000,
            "is not CSV in UTF-8: field larger",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_the_line(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    photos, labels = open_images(tmp_path)
    (labels / name).write_text(text)
    with pytest.raises(DatasetError, match=sentence) as caught:
        read_open_images(photos, labels)
    assert name in str(caught.value) or str(labels) in str(caught.value)


@pytest.mark.parametrize("held", [{"a": 1}, ["/m/05", 3], np.arange(3)])
def test_a_pickle_without_a_list_of_labels_is_refused(tmp_path: Path, held: Any) -> None:
    photos, labels = open_images(tmp_path)
    (labels / "unseen_labels.pkl").write_bytes(pickle.dumps(held))
    with pytest.raises(DatasetError, match=r"unseen_labels\.pkl must hold a list of MIDs"):
        read_open_images(photos, labels)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    photos, labels = open_images(tmp_path)
    with pytest.raises(DatasetError, match=r"no folder .*nowhere.*--photos"):
        read_open_images(tmp_path / "nowhere", labels)
    with pytest.raises(DatasetError, match=r"no folder .*nowhere.*--labels"):
        read_open_images(photos, tmp_path / "nowhere")
