"""`mkt evaluate ann`: the table, the JSON, what is said of the library, and what is refused."""

import json
from pathlib import Path

import pytest

from mkt_search.library import Library
from tests import made
from tests.command_line import columns, make_library, mkt


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of 600 photos and a candidate index."""
    home = tmp_path_factory.mktemp("indexed")
    made.optimized(home, 600, top_k=1).close()
    return home


def ann(home: Path, *arguments: str, code: int = 0):  # type: ignore[no-untyped-def]
    return mkt("evaluate", "ann", "--library", home, *arguments, code=code)


def remembered(home: Path) -> int:
    with Library.open(home) as library:
        return len(library.store.catalog.all_label_vectors())


def test_every_filter_and_k_is_a_line(indexed: Path) -> None:
    result = ann(indexed, "--recall", "0.6", "--queries", "5")
    rows = columns(result)
    assert [row[:3] for row in rows] == [
        ["none", "600", "10"],
        ["none", "600", "100"],
        ["10 %", "60", "10"],
    ]
    assert [row[4] for row in rows] == ["candidates", "candidates", "every photo"]
    assert 0.3 < float(rows[1][3]) < 1 and rows[2][3] == "1.0000"
    assert int(rows[0][5]) >= 10 and int(rows[1][5]) >= 100 and rows[2][5] == "–"
    assert all(float(cell) >= 0 for row in rows for cell in row[6:]) and len(rows[0]) == 10
    assert "5 queries (0 labels given, 0 remembered, 5 mixtures of stored" in result.stderr
    assert "on 600 photos, 600 of them in the candidate index, for a recall of 0.6" in result.stderr
    assert "Not every patch is stored" in result.stderr
    assert "A filter of 1 % leaves 6 of the photos" in result.stderr


def test_json_has_everything_and_k_and_seed_decide(indexed: Path) -> None:
    options = ("--recall", "0.6", "--queries", "5", "-k", "20", "--seed", "3", "--json")
    found, again = (json.loads(ann(indexed, *options).stdout) for _ in range(2))
    assert {row["k"] for row in found["rows"]} == {20}
    assert (found["seed"], found["target"], found["queries"]["mixed"]) == (3, 0.6, 5)
    assert [row["recall"] for row in found["rows"]] == [row["recall"] for row in again["rows"]]
    ways = [row["approximate"] for row in found["rows"]]
    assert ways[0]["path"] == "candidates" and 0 < ways[0]["p50"] <= ways[0]["p95"]
    assert found["notes"][0].startswith("Not every patch is stored")


def test_measuring_leaves_no_run(indexed: Path) -> None:
    ann(indexed, "--queries", "2")
    with Library.open(indexed) as library:
        assert library.runs() == []


def test_labels_are_asked_for_by_name_and_by_file(tmp_path: Path) -> None:
    home = make_library(tmp_path)
    (tmp_path / "labels.txt").write_text("# colours\nred\ngreen\n")
    result = ann(home, "blue", "red", "--labels", str(tmp_path / "labels.txt"), "--queries", "4")
    assert "4 queries (3 labels given, 0 remembered, 1 mixture of stored" in result.stderr
    assert "needs 256 photos, of which the library has 5: every search is exact." in result.stderr
    assert [row[:5] for row in columns(result)] == [
        ["none", "5", str(k), "1.0000", "exact scan"] for k in (10, 100)
    ]
    assert all(row[5:8] == ["–"] * 3 and float(row[8]) >= 0 for row in columns(result))
    assert remembered(home) == 3
    assert "1 label given, 2 remembered, 1 mixture" in ann(home, "red", "--queries", "4").stderr


def test_a_library_of_every_patch_says_so(tmp_path: Path) -> None:
    home = make_library(tmp_path, "--pooling", "all")
    assert "Every patch is stored (fp16): the truth is the exact scan of all." in ann(home).stderr


def test_an_empty_library_is_a_sentence(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    result = ann(tmp_path, code=1)
    assert "has no photos yet. Run `mkt index FOLDER`." in result.stderr and not result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--labels", "nowhere.txt"), 1, "nowhere.txt: cannot be read"),
        (("purpel",), 1, 'unknown label "purpel"'),
        ((" ",), 2, "A LABEL is empty"),
        (("-k", "0"), 2, "0 is not in the range x>=1"),
        (("--queries", "0"), 2, "0 is not in the range x>=1"),
        (("--recall", "0.2"), 2, "recall"),
    ],
)
def test_bad_input_is_a_sentence(
    library: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    result = ann(library, *arguments, code=code)
    assert sentence in result.stderr and not result.stdout


def test_ann_is_in_the_help_of_evaluate_and_takes_options_after_it(indexed: Path) -> None:
    assert (
        "ann  Measure the recall and speed of the library's candidate index."
        in mkt("evaluate", "--help").stdout
    )
    said = mkt("evaluate", "--library", indexed, "ann", code=2).stderr
    assert "Give --library after ann: mkt evaluate ann --library ..." in said
    assert "No such command 'an'" in mkt("evaluate", "an", code=2).stderr
