"""`mkt map`: what it makes and what it reports."""

import json
import sys
from pathlib import Path

import pytest

from mkt_search.projection.file import FILE
from mkt_search.store.store import Store
from tests import made
from tests.command_line import mkt


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder whose library has ten photos of a model that is gone."""
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 10)
    store.close()
    return tmp_path


def test_a_map_is_made_and_named(library: Path) -> None:
    result = mkt("map", "--library", library)
    assert "on the map" in result.stderr
    assert (library / ".mkt" / FILE).is_file()


def test_json_has_the_clusters(library: Path) -> None:
    data = json.loads(mkt("map", "--json", "--library", library).stdout)
    assert data["photos"] > 0
    assert {cluster["level"] for cluster in data["clusters"]} == {0, 1}


def test_without_the_extra_it_is_a_sentence(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    said = mkt("map", "--again", "--library", library, code=1).stderr
    assert said.count("\n") == 1 and 'pip install "mkt-search[map]"' in said


def test_a_library_whose_model_is_gone_has_a_map_without_names(home: Path) -> None:
    said = mkt("map", "--library", home).stderr
    assert "10 photos on the map" in said and "show" not in said
