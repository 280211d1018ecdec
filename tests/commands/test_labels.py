"""`mkt labels`: neighbours of a label by several kinds of label vectors."""

import json
from pathlib import Path

import pytest

from tests.command_line import columns, mkt
from tests.tiny import colour_table


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    lines = ["label,kind", "red,warm", "yellow,warm", "blue,cold", "green,cold"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    colour_table().save(tmp_path / "table.npz")
    return tmp_path / "labels.csv"


def test_the_nearest_labels_of_a_table_come_best_first(vocabulary: Path) -> None:
    table = vocabulary.parent / "table.npz"
    result = mkt("labels", "--labels", vocabulary, "--near", "yellow", "--label-table", table)
    rows = columns(result)
    assert [row[1] for row in rows] == ["", "1", "2", "3"]
    assert rows[0][3:] == ["yellow", "warm"] and {rows[1][3], rows[2][3]} == {"red", "green"}
    assert (
        "table.npz: " in result.stderr and "nearest labels are of a label's kind" in result.stderr
    )


def test_json_has_the_precision_of_every_kind_of_vector(vocabulary: Path) -> None:
    table = vocabulary.parent / "table.npz"
    arguments = ["--near", "red", "--near", "plaid", "--model", "demo", "--label-table", table]
    found = json.loads(mkt("labels", "--labels", vocabulary, *arguments, "--json").stdout)
    assert [part["vectors"] for part in found] == ["demo, learned", "demo, template", "table.npz"]
    assert all(0 <= part["precision"] <= 1 for part in found)
    assert list(found[0]["near"]) == ["red", "plaid"] and list(found[2]["near"]) == ["red"]


def test_a_table_that_knows_no_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("sonata\n")
    colour_table().save(tmp_path / "table.npz")
    arguments = ["--near", "fugue", "--label-table", tmp_path / "table.npz"]
    result = mkt("labels", "--labels", tmp_path / "labels.txt", *arguments, code=1)
    assert "table.npz knows none of the 2 labels" in result.stderr


def test_the_vocabulary_that_ships_is_listed_by_group() -> None:
    result = mkt("labels", "--vocabulary", "everyday")
    rows = columns(result)
    assert ["animals", "puppy", "animal|mammal|dog", "", ""] in rows
    groups = [row[0] for row in rows]
    assert [a for a, b in zip(groups, [*groups[1:], ""], strict=True) if a != b] == [
        *dict.fromkeys(groups)
    ]
    assert "labels in 20 groups" in result.stderr
    found = json.loads(mkt("labels", "--vocabulary", "everyday", "--json").stdout)
    assert len(found) == len(rows)
    assert {"group", "label", "parents", "synonyms", "phrases"} == found[0].keys()


def test_a_copy_of_the_vocabulary_that_ships_is_a_vocabulary(tmp_path: Path) -> None:
    text = mkt("labels", "--vocabulary", "everyday", "--toml").stdout
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    listed = mkt("labels", "--vocabulary", tmp_path / "my.toml")
    assert listed.stdout == mkt("labels", "--vocabulary", "everyday").stdout


def test_a_vocabulary_without_tables_is_listed_too_and_has_no_toml(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("dog\ncat\n")
    rows = columns(mkt("labels", "--vocabulary", tmp_path / "labels.txt"))
    assert [row[1] for row in rows] == ["dog", "cat"]
    result = mkt("labels", "--vocabulary", tmp_path / "labels.txt", "--toml", code=2)
    assert "--toml prints a vocabulary that is a .toml file" in result.stderr


def test_options_that_compare_labels_need_a_label() -> None:
    result = mkt("labels", "--vocabulary", "everyday", "--model", "demo", code=2)
    assert "name one with --near" in result.stderr
