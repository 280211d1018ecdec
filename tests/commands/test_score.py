"""`mkt score`: one photo against a list of labels, every patch used."""

import json
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from tests.calibration.made import calibrator_of
from tests.command_line import columns, mkt


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (tmp_path / "labels.txt").write_text("green\nred\nblue\n")
    return tmp_path / "labels.txt"


def scores(library: Path, labels: Path, name: str, *options: str) -> dict[str, float]:
    photo = library / "photos" / name
    result = mkt("score", photo, "--labels", labels, "--library", library, "--json", *options)
    return {item["label"]: item["score"] for item in json.loads(result.stdout)[0]["labels"]}


def test_labels_come_best_first(library: Path, labels: Path) -> None:
    photo = library / "photos" / "trip" / "mixed.png"
    rows = columns(mkt("score", photo, "--labels", labels, "--library", library))
    assert [row[3] for row in rows] == ["blue", "red", "green"]
    assert {row[4] for row in rows} == {str(photo)}


def test_cosine_scores_a_plain_colour_one(library: Path, labels: Path) -> None:
    assert scores(library, labels, "red.png")["red"] == pytest.approx(1, abs=1e-5)


def test_none_leaves_the_vectors_as_they_are(library: Path, labels: Path) -> None:
    found = scores(library, labels, "yellow.jpg", "--fuse", "none")
    assert found["red"] == pytest.approx(1, abs=0.05)  # unnormalised: yellow holds all of red


def test_vocabulary_divides_by_the_norm_over_the_labels(library: Path, labels: Path) -> None:
    found = scores(library, labels, "yellow.jpg", "--fuse", "vocabulary")
    assert sum(value**2 for value in found.values()) == pytest.approx(1, abs=0.02)


def test_top_k_is_the_number_of_patches_averaged(library: Path, labels: Path) -> None:
    one, all_ = (scores(library, labels, "trip/mixed.png", "--top-k", k) for k in ("1", "9999"))
    assert one["red"] > all_["red"] + 0.2  # one of its patches is red


def test_k_limits_the_labels(library: Path, labels: Path) -> None:
    assert list(scores(library, labels, "blue.png", "-k", "1")) == ["blue"]


def test_no_library_is_needed_when_the_model_is_named(
    library: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = library / "photos" / "red.png"
    result = mkt("score", photo, "--labels", labels, "--model", library / "student")
    assert columns(result)[0][3] == "red"


def test_without_model_and_library_the_error_names_both_ways(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = mkt("score", "x.jpg", "--labels", labels, code=1)
    assert "mkt init" in result.stderr
    assert "--model" in result.stderr


def test_photo_that_cannot_be_read_says_why(library: Path, labels: Path) -> None:
    photo = library / "photos" / "broken.jpg"
    result = mkt("score", photo, "--labels", labels, "--library", library, code=1)
    assert result.stderr.startswith(f"Error: Cannot read the photo {photo}: ")


def test_label_file_that_is_empty_is_a_sentence(library: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("# nothing\n")
    photo = library / "photos" / "red.png"
    result = mkt("score", photo, "--labels", tmp_path / "none.txt", "--library", library, code=1)
    assert "has no labels" in result.stderr


def test_p_comes_first_where_there_is_a_calibrator(own_library: Path, labels: Path) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened), opened.directory / FILE)
        searched = {hit.path.name: hit.p for hit in opened.search("blue")}
    photo = own_library / "photos" / "trip" / "mixed.png"
    given = ("score", photo, "--labels", labels, "--library", own_library)
    row = columns(mkt(*given))[0]
    assert row[4] == "blue" and float(row[0]) == pytest.approx(searched["mixed.png"], abs=0.02)
    found = json.loads(mkt(*given, "--json").stdout)[0]["labels"]
    assert found[0]["p"] == pytest.approx(searched["mixed.png"], abs=0.02)


def test_the_calibrator_of_a_checkpoint_serves_without_a_library(
    own_library: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened), own_library / "student" / FILE)
    monkeypatch.chdir(tmp_path)
    photo = own_library / "photos" / "red.png"
    result = mkt("score", photo, "--labels", labels, "--model", own_library / "student")
    assert len(columns(result)[0]) == 6


def test_a_damaged_calibrator_is_named(own_library: Path, labels: Path) -> None:
    (own_library / ".mkt" / FILE).write_bytes(b"damaged")
    photo = own_library / "photos" / "red.png"
    result = mkt("score", photo, "--labels", labels, "--library", own_library)
    assert "no probability" in result.stderr and len(columns(result)[0]) == 5
