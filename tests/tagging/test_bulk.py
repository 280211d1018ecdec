"""Bulk tagging: what a run says of its tags."""

from pathlib import Path

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from tests.calibration.made import calibrator_of

COLOURS = ["red", "green", "blue"]


def test_what_is_expected_to_be_wrong_is_said(own_library: Path) -> None:
    said: list[str] = []
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
        report = library.tag(
            COLOURS, precision=0.5, dry_run=True, progress=lambda event: said.append(event.message)
        )
    assert report.added > 0
    assert any("expected to be wrong" in sentence for sentence in said)
