"""`mkt tags`: tags and runs in a table, as CSV, JSON and Parquet."""

import csv
import io
import json
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("options", [("--label", "x"), ("--run", "9"), ("--photo", "no.jpg")])
def test_no_tag_that_meets_the_conditions_differs_from_no_tags(
    home: Path, options: tuple[str, str]
) -> None:
    assert mkt("tags", *options).stderr.startswith("No tag meets all conditions")


@pytest.mark.parametrize("options", [("--csv",), ("--parquet", "runs.parquet")])
def test_runs_have_no_csv_or_parquet(home: Path, options: tuple[str, ...]) -> None:
    assert (
        "--runs prints a table or, with --json, JSON."
        in mkt("tags", "--runs", *options, code=2).stderr
    )


@pytest.mark.parametrize("options", [("--label", "x"), ("--run", "1"), ("--path", "a")])
def test_runs_are_not_filtered(home: Path, options: tuple[str, str]) -> None:
    assert "--runs lists every run" in mkt("tags", "--runs", *options, code=2).stderr
