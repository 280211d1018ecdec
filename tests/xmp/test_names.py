"""Names are written short and used in full."""

import pytest

from mkt_search.xmp.names import name


def test_a_short_name_stands_for_a_full_one() -> None:
    assert name("dc:subject") == "{http://purl.org/dc/elements/1.1/}subject"
    with pytest.raises(KeyError):
        name("unknown:subject")
