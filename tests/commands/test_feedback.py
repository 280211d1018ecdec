"""`mkt feedback`."""

import json
from pathlib import Path

import pytest

from tests.command_line import columns, mkt


@pytest.fixture
def photos(own_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of photos of a library, which is the working directory."""
    monkeypatch.chdir(own_library / "photos")
    return own_library / "photos"


def test_each_option_takes_several_photos(photos: Path) -> None:
    given = ("red", "--yes", "red.png", "trip/mixed.png", "--no", "blue.png", "green.png")
    result = mkt("feedback", *given)
    assert "red: 2 yes, 2 no; the label vector is turned by" in result.stderr
    rows = columns(mkt("feedback", "red"))
    judged = [(label, answer, Path(path).name) for label, answer, path, *_ in rows]
    assert judged == [
        *(("red", "no", "blue.png"), ("red", "no", "green.png"), ("red", "yes", "red.png")),
        *(("red", "yes", "copy.png"), ("red", "yes", "mixed.png")),
    ]
    found = mkt("search", "red", "--paths").stdout
    assert "blue.png" not in found and "red.png" in found
    assert "4 judgements of hits count" in mkt("search", "red", "--explain").stderr


def test_judgements_are_taken_back_of_some_photos_and_of_all(photos: Path) -> None:
    before = mkt("search", "red", "--json").stdout
    mkt("feedback", "red", "--no", "blue.png", "--no", "green.png", "red.png")
    result = mkt("feedback", "red", "--forget", "blue.png", "green.png")
    assert "took back 2 judgements for red" in result.stderr
    assert "took back 1 judgement for red" in mkt("feedback", "red", "--forget-all").stderr
    assert mkt("search", "red", "--json").stdout == before
    assert "No judgements" in mkt("feedback").stderr


def test_json_has_what_the_table_has(photos: Path) -> None:
    given = json.loads(mkt("feedback", "red", "--yes", "green.png", "--json").stdout)
    assert (given["yes"], given["no"], given["used"], given["offset"]) == (1, 0, 1, None)
    [listed] = json.loads(mkt("feedback", "--json").stdout)
    assert listed["label"] == "red" and listed["judged"] == "yes" and not listed["is_missing"]
    assert listed["path"].endswith("green.png") and listed["judged_at"].endswith("Z")
    gone = mkt("feedback", "red", "--forget-all", "--json").stdout
    assert json.loads(gone) == {"forgotten": 1}


def test_mistakes_are_sentences(photos: Path) -> None:
    assert (
        "exclude each other" in mkt("feedback", "red", "--yes", "a", "--forget-all", code=2).stderr
    )
    assert "Name the LABEL" in mkt("feedback", "--yes", "red.png", code=2).stderr
    both = mkt("feedback", "red", "--yes", "red.png", "--no", "red.png", code=1)
    assert "both yes and no" in both.stderr
    assert "not in the library" in mkt("feedback", "red", "--no", "x.png", code=1).stderr
    assert "qwerty" in mkt("feedback", "qwerty", "--no", "red.png", code=1).stderr


def test_a_photo_that_is_gone_is_marked(photos: Path) -> None:
    mkt("feedback", "red", "--no", "green.png")
    (photos / "green.png").unlink()
    mkt("index")
    result = mkt("feedback", "red")
    assert "green.png (missing)" in result.stdout
