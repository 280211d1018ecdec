"""Searches by probability: as many hits as are expected to be right."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from mkt_search.calibration.quality import BEST, best_mean
from mkt_search.calibration.selection import longest_prefix
from mkt_search.errors import CalibrationError, QueryError
from mkt_search.search.probability import Wanted
from mkt_search.search.search import Explanation
from mkt_search.types import Filters, Term
from tests.calibration.made import calibrator_of


@pytest.fixture
def calibrated(own_library: Path) -> Path:
    """Return a folder with a library that has a calibrator: p rises from 0 to 1 with the score."""
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
    return own_library


@settings(max_examples=40, deadline=None)
@given(
    p=st.lists(st.floats(0, 1), max_size=12),
    precision=st.none() | st.floats(0.1, 1),
    min_p=st.none() | st.floats(0.1, 1),
    most=st.none() | st.integers(1, 5),
)
def test_what_is_wanted_of_p_is_a_prefix_that_meets_it(
    p: list[float], precision: float | None, min_p: float | None, most: int | None
) -> None:
    falling = np.sort(np.array(p, float))[::-1]
    count = Wanted(precision, min_p, most).count(falling)
    assert min_p is None or (falling[:count] >= min_p).all()
    assert most is None or count <= most
    assert precision is None or count <= longest_prefix(falling, precision)


def test_hits_have_a_probability_that_falls_with_the_score(calibrated: Path) -> None:
    with Library.open(calibrated) as library:
        p = [hit.p or 0 for hit in library.search("red")]
    assert p == sorted(p, reverse=True) and p[0] > p[-1]


def test_without_a_calibrator_there_is_no_probability(library: Path) -> None:
    with Library.open(library) as opened:
        assert opened.calibrator() is None
        assert {hit.p for hit in opened.search("red")} == {None}
        with pytest.raises(CalibrationError, match="mkt calibrate"):
            opened.search("red", precision=0.9)


def test_a_precision_gives_the_longest_prefix_of_all_photos(calibrated: Path) -> None:
    with Library.open(calibrated) as library:
        every = np.array([hit.p for hit in library.search("red", k=1_000)], float)
        for precision in (0.2, 0.5, 0.8):
            hits = library.search("red", precision=precision)
            assert len(hits) == longest_prefix(every, precision)
        assert len(library.search("red", precision=0.2, k=1)) == 1
        assert len(library.search("red", min_p=float(every[1]))) == (every >= every[1]).sum()


def test_a_precision_goes_with_filters(calibrated: Path) -> None:
    with Library.open(calibrated) as library:
        hits = library.search("red", min_p=0.01, filters=Filters(path="*/mixed*"))
    assert [hit.path.name for hit in hits] == ["mixed.png"]


def test_several_labels_are_ordered_by_the_probability_of_all(calibrated: Path) -> None:
    with Library.open(calibrated) as library:
        one = {hit.photo_id: hit.p or 0 for hit in library.search("red", k=50)}
        other = {hit.photo_id: hit.p or 0 for hit in library.search("blue", k=50)}
        hits = library.search("red - blue", min_p=1e-9)
    expected = {id_: p * (1 - other[id_]) for id_, p in one.items()}
    assert [hit.p for hit in hits] == sorted((hit.p or 0 for hit in hits), reverse=True)
    for hit in hits:
        assert hit.p == pytest.approx(expected[hit.photo_id])


def test_likeness_to_a_photo_has_no_probability(calibrated: Path) -> None:
    terms = [Term(photo=calibrated / "photos" / "red.png")]
    with Library.open(calibrated) as library:
        assert {hit.p for hit in library.search(terms)} == {None}
        with pytest.raises(CalibrationError, match="photo"):
            library.search(terms, precision=0.5)


@pytest.mark.parametrize("wrong", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(calibrated: Path, wrong: float) -> None:
    with Library.open(calibrated) as library, pytest.raises(QueryError, match="probability"):
        library.search("red", precision=wrong)


def test_a_label_that_is_not_there_gets_no_answer_to_a_precision(own_library: Path) -> None:
    for match, given_ in (("none", {"present_from": 1.0}), ("unknown", {"auroc": 0.5})):
        with Library.open(own_library) as library:
            save(calibrator_of(library, **given_), library.directory / FILE)
            explanation = Explanation()
            assert library.search("red", precision=0.2, explanation=explanation) == []
            assert explanation.match == match
            assert library.search("red", min_p=0.01)


@pytest.mark.parametrize("change", [{"checkpoint": "0" * 12}, {"m": 5}], ids=str)
def test_a_calibrator_of_other_scores_is_not_used(
    own_library: Path, change: dict[str, int]
) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library, stamp=change), library.directory / FILE)
        assert library.calibrator() is None
        with pytest.raises(CalibrationError, match="does not fit"):
            library.search("red", precision=0.5)


def test_a_damaged_calibrator_leaves_searches_as_they_are(own_library: Path) -> None:
    (own_library / ".mkt" / FILE).write_bytes(b"damaged")
    with Library.open(own_library) as library:
        assert library.search("red")[0].p is None
        with pytest.raises(CalibrationError, match="cannot be read"):
            library.search("red", precision=0.5)


def test_the_nearest_labels_are_those_that_the_photos_show(own_library: Path) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
        best = {
            label: best_mean(np.array([hit.p for hit in library.search(label, k=BEST)], float))
            for label in ("red", "yellow", "blue", "white", "orange")
        }
        missing, *others = sorted(best, key=best.__getitem__)
        between = (best[missing] + best[others[0]]) / 2
        save(calibrator_of(library, present_from=between), library.directory / FILE)
        vectors = dict(zip(best, library.label_vectors(list(best)), strict=True))
        nearest = sorted(others, key=lambda label: -float(vectors[label] @ vectors[missing]))
        assert library.nearest_shown(missing, count=9) == nearest
        assert library.nearest_shown(missing, count=1) == nearest[:1]
        save(calibrator_of(library, present_from=1.0), library.directory / FILE)
        assert library.nearest_shown(missing) == []


def test_the_nearest_labels_are_those_of_photos_that_meet_the_filters(calibrated: Path) -> None:
    with Library.open(calibrated) as library:
        library.label_vectors(["red", "green"])
        filters = Filters(path="*/green.png")
        found = library.nearest_shown("yellow", filters=filters)
    assert "green" in found and "red" not in found


def test_the_nearest_labels_are_unknown_without_a_calibrator(library: Path) -> None:
    with Library.open(library) as opened, pytest.raises(CalibrationError, match="mkt calibrate"):
        opened.nearest_shown("red")
