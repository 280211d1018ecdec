"""Reasons as JSON."""

import os
from pathlib import Path

from mkt_search.json_forms.reasons import as_data


def test_a_path_that_is_not_utf8_is_escaped() -> None:
    data = as_data(Path(os.fsdecode(b"/a\xff.jpg")), "not a photo")
    data["path"].encode()
    assert data["reason"] == "not a photo"
