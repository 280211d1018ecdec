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
