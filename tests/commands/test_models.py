"""`mkt models`: the table and its JSON."""

import json

from mkt_search.models.recommended import DEFAULT, RECOMMENDED
from tests.command_line import columns, mkt


def test_lists_models_with_license_size_speed_and_published_accuracy() -> None:
    rows = columns(mkt("models"))
    found = next(row for row in rows if DEFAULT in row)
    assert found[:6] == [DEFAULT, "MIT", "yes", "598", "1.00", "73.5"]
    assert [row[0] for row in rows if "/" in row[0]] == [model.name for model in RECOMMENDED]


def test_json_marks_the_default() -> None:
    rows = json.loads(mkt("models", "--json").stdout)
    assert [row["name"] for row in rows if row["default"]] == [DEFAULT]
    assert {row["name"] for row in rows if not row["commercial"]} == {
        "ViT-B-16/dfn2b",
        "MobileCLIP2-S2/dfndr2b",
    }
