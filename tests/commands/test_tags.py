"""`mkt tags`: tags and runs in a table, as CSV, JSON and Parquet."""

import csv
import io
import json
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from tests.calibration.made import calibrator_of
from tests.command_line import columns, mkt, tagged


@pytest.fixture
def home(own_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(own_library)
    (own_library / "labels.txt").write_text("red\ngreen\nblue\n")
    return own_library


def test_tags_are_filtered(home: Path) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    mkt("tag", "photos/blue.png", "--add", "sea")
    assert tagged(home, "--photo", "photos/green.png") == [("green.png", "green")]
    assert tagged(home, "--source", "human") == [("blue.png", "sea")]
    assert tagged(home, "--path", "*trip/copy*") == [("trip/copy.png", "red")]
    assert "Dated only by the file: 5 of 6 photos (5 by" in mkt("tags", "--after", "2020").stderr


def test_csv_has_headings_and_json_is_an_array(home: Path) -> None:
    mkt("tag", "photos/blue.png", "--add", "sea, salt")
    rows = list(csv.DictReader(io.StringIO(mkt("tags", "--csv").stdout)))
    assert [(row["label"], row["score"], row["source"]) for row in rows] == [
        ("sea, salt", "", "human")
    ]
    assert json.loads(mkt("tags", "--json").stdout)[0]["label"] == "sea, salt"


def test_parquet_is_written(home: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    mkt("tag", "photos/blue.png", "--add", "sea")
    assert "wrote tags.parquet: 1 tag" in mkt("tags", "--parquet", "tags.parquet").stderr
    assert parquet.read_table(home / "tags.parquet").to_pylist()[0]["label"] == "sea"


def test_two_output_formats_are_a_usage_error(home: Path) -> None:
    assert "exclude each other" in mkt("tags", "--csv", "--json", code=2).stderr


def test_a_library_without_tags_is_no_error(home: Path) -> None:
    result = mkt("tags")
    assert (result.stdout, result.stderr[:8]) == ("", "No tags.")


def test_runs_are_listed_with_their_outcome(home: Path) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    rows = columns(mkt("tags", "--runs"))
    assert [(row[1], row[3]) for row in rows] == [("index", "done"), ("tag", "done")]
    assert "added 6" in rows[1][4]
    data = json.loads(mkt("tags", "--runs", "--json").stdout)[1]
    assert data["settings"]["labels"] == ["red", "green", "blue"]
    assert data["started_at"].endswith("Z")


@pytest.mark.parametrize("options", [("--label", "x"), ("--photo", "photos/red.png")])
def test_no_tag_that_meets_the_conditions_differs_from_no_tags(
    home: Path, options: tuple[str, str]
) -> None:
    assert mkt("tags", *options).stderr.startswith("No tag meets all conditions")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--run", "9"), "There is no tag run 9; tag runs: 2."),
        (("--run", "1"), "There is no tag run 1; tag runs: 2."),
        (("--photo", "no.jpg"), "no.jpg is not in the library."),
        (("--refused", "--photo", "no.jpg"), "no.jpg is not in the library."),
    ],
)
def test_a_run_or_photo_that_does_not_exist_is_a_sentence(
    home: Path, options: tuple[str, ...], complaint: str
) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    assert complaint in mkt("tags", *options, code=1).stderr


def test_csv_is_harmless_in_a_spreadsheet_unless_it_is_raw(home: Path) -> None:
    mkt("tag", "photos/blue.png", "--add", "=1+1")
    assert ",'=1+1," in mkt("tags", "--csv").stdout
    assert ",=1+1," in mkt("tags", "--csv", "--raw").stdout
    assert "--raw goes with --csv" in mkt("tags", "--raw", code=2).stderr


def test_removed_labels_are_listed(home: Path) -> None:
    assert mkt("tags", "--refused").stderr == "No removed labels.\n"
    mkt("tag", "photos/red.png", "photos/blue.png", "--remove", "Sea")
    rows = columns(mkt("tags", "--refused"))
    assert [(Path(row[0]).name, row[1]) for row in rows] == [
        *(("blue.png", "Sea"), ("red.png", "Sea"), ("copy.png", "Sea")),
    ]
    assert (
        len(columns(mkt("tags", "--refused", "--label", "SEA", "--photo", "photos/red.png"))) == 1
    )
    data = json.loads(mkt("tags", "--refused", "--path", "blue", "--json").stdout)
    assert [(one["label"], one["refused_at"][-1]) for one in data] == [("Sea", "Z")]


@pytest.mark.parametrize("more", [("--runs",), ("--csv",), ("--run", "1"), ("--source", "auto")])
def test_removed_labels_are_no_tags(home: Path, more: tuple[str, ...]) -> None:
    assert "--refused" in mkt("tags", "--refused", *more, code=2).stderr


@pytest.mark.parametrize("options", [("--csv",), ("--parquet", "runs.parquet")])
def test_runs_have_no_csv_or_parquet(home: Path, options: tuple[str, ...]) -> None:
    assert (
        "--runs prints a table or, with --json, JSON."
        in mkt("tags", "--runs", *options, code=2).stderr
    )


@pytest.mark.parametrize("options", [("--label", "x"), ("--run", "1"), ("--path", "a")])
def test_runs_are_not_filtered(home: Path, options: tuple[str, str]) -> None:
    assert "--runs lists every run" in mkt("tags", "--runs", *options, code=2).stderr


def test_exports_show_a_label_below_its_parents(home: Path) -> None:
    (home / "labels.toml").write_text('[water]\n[sea]\nparent = "water"\nsynonyms = ["ocean"]\n')
    assert 'added "sea" to 1 photo' in mkt("tag", "photos/blue.png", "--add", "ocean").stderr
    (row,) = csv.DictReader(io.StringIO(mkt("tags", "--csv").stdout))
    assert row["hierarchy"] == "water|sea"
    (tag,) = json.loads(mkt("tags", "--label", "ocean", "--json").stdout)
    assert (tag["label"], tag["hierarchy"]) == ("sea", "water|sea")


def test_one_label_under_two_names_is_one_wish(home: Path) -> None:
    (home / "labels.toml").write_text('[sea]\nsynonyms = ["ocean"]\n')
    arguments = ["photos/blue.png", "--add", "sea", "--remove", "ocean"]
    assert '"sea" is in --add and --remove' in mkt("tag", *arguments, code=2).stderr


def test_p_comes_last_where_a_calibrator_gave_one(home: Path) -> None:
    with Library.open(home) as opened:
        save(calibrator_of(opened), opened.directory / FILE)
    mkt("tag", "--vocabulary", "labels.txt", "--precision", "0.5")
    mkt("tag", "photos/blue.png", "--add", "sea")
    for row in columns(mkt("tags", "--photo", "photos/blue.png")):
        assert (row[-1] == "") == (row[1] == "sea")
    data = json.loads(mkt("tags", "--photo", "photos/blue.png", "--json").stdout)
    assert {row["label"]: row["p"] is None for row in data} == {"blue": False, "sea": True}
