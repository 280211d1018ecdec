"""`mkt calibrate`."""

import json
from pathlib import Path

from tests.command_line import mkt


def test_too_few_photos_are_an_error_with_the_way_out(own_library: Path) -> None:
    labels = own_library / "labels.json"
    shown = {"red.png": ["red"], "green.png": ["green"], "blue.png": ["blue"]}
    labels.write_text(json.dumps({**shown, "trip/copy.png": ["red"], "trip/mixed.png": ["red"]}))
    given = ("--photos", own_library / "photos", "--labels", labels, "--library", own_library)
    result = mkt("calibrate", *given, code=1)
    assert "too few to calibrate on" in result.stderr


def test_too_few_tags_are_an_error_that_says_what_is_missing(own_library: Path) -> None:
    result = mkt("calibrate", "--from-tags", "--library", own_library, code=1)
    assert "100 are needed" in result.stderr and "mkt tag PHOTO --add LABEL" in result.stderr


def test_tags_and_labeled_photos_exclude_each_other(own_library: Path) -> None:
    given = ("--from-tags", "--photos", "labeled", "--library", own_library)
    assert "--photos exclude each other" in mkt("calibrate", *given, code=2).stderr
