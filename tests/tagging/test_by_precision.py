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


def test_what_is_expected_to_be_wrong_is_said(calibrated: Path) -> None:
    said: list[str] = []
    with Library.open(calibrated) as library:
        report = library.tag(
            COLOURS, precision=0.5, dry_run=True, progress=lambda event: said.append(event.message)
        )
    assert report.added > 0
    assert any("expected to be wrong" in sentence for sentence in said)


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
