"""The state of a library as JSON."""

import json
from pathlib import Path

from mkt_search import Library
from mkt_search.json_forms.status import EncodingData, StatusData, as_data


def test_the_state_of_a_library_has_the_declared_fields(library: Path) -> None:
    with Library.open(library) as opened:
        data = as_data(opened.status())
    assert set(data) == StatusData.__required_keys__
    assert data["encoding"] is not None
    assert set(data["encoding"]) == EncodingData.__required_keys__
    assert json.loads(json.dumps(data)) == data
