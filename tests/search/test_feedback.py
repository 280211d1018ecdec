"""Searches that follow judgements: order, p, and hits that were refused."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from mkt_search.search.feedback import adapt
from mkt_search.search.search import Explanation
from mkt_search.store.interfaces import WeightedQuery
from mkt_search.types import Hit, Term
from tests.calibration.made import calibrator_of


@pytest.fixture
def calibrated(own_library: Path) -> Path:
    """Return a folder with a library that has a calibrator: p rises from 0 to 1 with the score."""
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
    return own_library


def names(hits: list[Hit]) -> list[str]:
    return [hit.path.name for hit in hits]


def query(library: Library, *labels: str) -> tuple[WeightedQuery, list[Term]]:
    vectors = library.label_vectors(labels)
    return WeightedQuery(vectors, np.ones(len(labels), np.float32)), [
        Term(label=label) for label in labels
    ]


def test_a_query_without_judgements_is_the_very_same(library: Path) -> None:
    with Library.open(library) as opened:
        asked, terms = query(opened, "red", "blue")
        assert adapt(asked, terms, {}, opened.snapshot(), None).query is asked


def test_the_label_that_was_judged_is_adapted_and_no_other_one(library: Path) -> None:
    with Library.open(library) as opened:
        asked, terms = query(opened, "red", "blue")
        [one, *_] = opened.snapshot().content_ids().tolist()
        found = adapt(asked, terms, {"blue": {one: False, 10**9: False}}, opened.snapshot(), None)
    np.testing.assert_array_equal(found.query.labels[0], asked.labels[0])
    assert (found.query.labels[1] != asked.labels[1]).any()
    assert (found.judged, found.is_confirmed) == (1, False)
    assert sorted(found.refused.tolist()) == [one, 10**9]


def test_hits_like_those_with_a_yes_come_earlier(own_library: Path) -> None:
    photos = own_library / "photos"
    with Library.open(own_library) as library:
        before = names(library.search("red", k=10))
        library.add_feedback("red", yes=[photos / "yellow.jpg"])
        explanation = Explanation()
        after = names(library.search("red", k=10, explanation=explanation))
        assert explanation.judged == 1
        assert after.index("yellow.jpg") <= before.index("yellow.jpg")
        assert {*after} == {*before}


def test_a_refused_photo_is_no_hit_of_the_label_and_one_of_others(calibrated: Path) -> None:
    red = calibrated / "photos" / "red.png"
    with Library.open(calibrated) as library:
        library.add_feedback("red", no=red)
        for asked in ({"k": 10}, {"min_p": 1e-9}, {"precision": 1e-9}):
            found = library.search("red + blue", **asked)  # type: ignore[arg-type]
            assert "red.png" not in names(found) and "mixed.png" in names(found)
        assert len(library.search("red", k=10)) == 4
        assert "red.png" in names(library.search("blue", k=10))
        assert "red.png" in names(library.search("blue - red", k=10))
        assert len(library.search("red", k=2)) == 2


def test_p_follows_judgements_and_still_falls_with_the_score(calibrated: Path) -> None:
    photos = calibrated / "photos"
    with Library.open(calibrated) as library:
        before = {hit.path.name: hit.p or 0 for hit in library.search("red", k=10)}
        library.add_feedback("red", yes=[photos / "red.png", photos / "trip" / "mixed.png"])
        hits = library.search("red", k=10)
        p = [hit.p or 0 for hit in hits]
        assert p == sorted(p, reverse=True)
        assert {hit.path.name: hit.p for hit in hits}["mixed.png"] > before["mixed.png"]


def test_a_label_with_a_confirmed_photo_is_there(own_library: Path) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library, present_from=1.0), library.directory / FILE)
        explanation = Explanation()
        library.search("red", explanation=explanation)
        assert explanation.match == "none"
        library.add_feedback("red", yes=own_library / "photos" / "red.png")
        assert library.search("red", precision=0.2, explanation=explanation)
        assert explanation.match == "yes"
