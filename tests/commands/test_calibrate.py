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
