"""`mkt optimize`: what it builds and what it reports."""

import json
from pathlib import Path

import pytest

from mkt_search.commands.optimize import recall_of
from mkt_search.store.optimize import Optimized
from mkt_search.store.recall_curve import RecallCurve, RecallPoint
from mkt_search.store.store import Store
from tests import made
from tests.command_line import mkt

PHOTOS = 300


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "photos").mkdir()
    store = Store.create(home / ".mkt")
    made.fill(store, home / "photos", PHOTOS)
    store.close()
    return home


@pytest.mark.slow
def test_json_has_the_numbers_and_stderr_the_sentences(home: Path) -> None:
    result = mkt("optimize", "--json", "--library", home)
    data = json.loads(result.stdout)
    files = (home / ".mkt" / "index").iterdir()
    assert data["photos"] == PHOTOS
    assert data["bytes"] == sum(file.stat().st_size for file in files)
    assert set(data["recall"]) == {"single", "multi", "negated"}
    assert f"built a candidate index of {PHOTOS} photos" in result.stderr


def test_a_small_library_needs_no_candidate_index(library: Path) -> None:
    result = mkt("optimize", "--library", library)
    assert result.stderr == (
        "6 photos: too few for a candidate index; searches read all of them.\n"
    )


def optimized(*single: RecallPoint) -> Optimized:
    half = (RecallPoint(50, 0.5), RecallPoint(2_000, 0.96))
    curve = RecallCurve({"single": {10: single}, "multi": {10: half}, "negated": {10: ()}})
    return Optimized(1_000, 5_000, curve)


def test_recall_is_one_sentence() -> None:
    found = optimized(RecallPoint(100, 0.93), RecallPoint(400, 0.99))
    assert recall_of(found) == (
        "To have 90 %, 95 %, 99 % of the 10 best photos among the candidates, a search probes this "
        "many vectors: for a label 100, 400, 400; for two labels 2,000, 2,000, (never); "
        "for one without another (never), (never), (never)."
    )


def test_a_library_too_small_to_measure_stays_exact() -> None:
    assert "stay exact" in recall_of(optimized())
