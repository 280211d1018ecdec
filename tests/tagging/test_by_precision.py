"""Tags asked for by precision."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from mkt_search.errors import CalibrationError, QueryError
from mkt_search.tagging.by_precision import BINS, MIN_P
from tests.calibration.made import calibrator_of

COLOURS = ["red", "green", "blue"]


@pytest.fixture
def calibrated(own_library: Path) -> Path:
    """Return a folder with a library that has a calibrator: p rises from 0 to 1 with the score."""
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
    return own_library


@pytest.mark.parametrize("precision", [0.3, 0.5, 0.8, 1.0])
def test_each_label_gets_the_photos_that_a_search_would_give(
    calibrated: Path, precision: float
) -> None:
    with Library.open(calibrated) as library:
        library.tag(COLOURS, precision=precision)
        for label in COLOURS:
            hits = library.search(label, precision=precision)
            wanted = {hit.path for hit in hits if (hit.p or 0) >= MIN_P}
            found = [tag for tag in library.tags(label=label) if tag.path in wanted]
            tagged = {tag.path for tag in library.tags(label=label)}
            copies = {copy for hit in hits for copy in hit.copies}
            assert tagged - copies <= wanted  # whole steps of p: never more, seldom fewer
            p = [hit.p or 0 for hit in hits if hit.path in tagged]
            assert not p or np.mean(p) >= precision - 1 / BINS
            assert all(tag.score is not None for tag in found)


def test_a_label_that_no_photo_looks_like_gets_none(own_library: Path) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library, present_from=1.0), library.directory / FILE)
        assert library.tag(COLOURS, precision=0.3).added == 0


def test_scores_that_cannot_tell_are_refused(own_library: Path) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library, auroc=0.5), library.directory / FILE)
        with pytest.raises(CalibrationError, match="do not tell"):
            library.tag(COLOURS, precision=0.9)


def test_a_precision_needs_a_calibrator_and_no_threshold(own_library: Path) -> None:
    with Library.open(own_library) as library:
        with pytest.raises(CalibrationError, match="mkt calibrate"):
            library.tag(COLOURS, precision=0.9)
        with pytest.raises(QueryError, match="threshold"):
            library.tag(COLOURS, precision=0.9, threshold=0.1)
        with pytest.raises(QueryError, match="--precision 2"):
            library.tag(COLOURS, precision=2)


def test_tags_have_the_probability_of_a_search_however_they_are_chosen(calibrated: Path) -> None:
    with Library.open(calibrated) as library:
        wanted = {hit.path: hit.p for hit in library.search("red", k=50)}
        wanted |= {copy: hit.p for hit in library.search("red", k=50) for copy in hit.copies}
        for rule in ({"precision": 0.3}, {"threshold": 0.0}, {"top": 1}):
            library.tag(COLOURS, **rule)  # type: ignore[arg-type]
            found = {tag.path: tag.p for tag in library.tags(label="red")}
            assert found
            for path, p in found.items():
                assert p == pytest.approx(wanted[path], abs=1e-6)


def test_tags_without_a_calibrator_and_by_hand_have_no_probability(own_library: Path) -> None:
    with Library.open(own_library) as library:
        library.tag(COLOURS, top=1)
        library.add_tag(own_library / "photos" / "red.png", "car")
        assert {tag.p for tag in library.tags()} == {None}


def test_a_calibrator_that_cannot_be_used_is_named(own_library: Path) -> None:
    (own_library / ".mkt" / FILE).write_bytes(b"damaged")
    said: list[str] = []
    with Library.open(own_library) as library:
        library.tag(COLOURS, top=1, progress=lambda event: said.append(event.message))
        assert {tag.p for tag in library.tags()} == {None}
    assert any("no probability" in sentence for sentence in said)
