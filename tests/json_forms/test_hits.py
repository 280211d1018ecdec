"""Hits as JSON."""

from pathlib import Path

import pytest

from mkt_search.json_forms.hits import as_data, expected
from mkt_search.types import Box, Hit


def test_a_hit_has_its_box_its_copies_and_p_if_it_is_known() -> None:
    hit = Hit(1, Path("/a.jpg"), 1.0, 0.5, 0.5, (Box(0, 0.25, 0.5, 1),), (Path("/b.jpg"),))
    data = as_data(hit)
    assert data["boxes"] == [{"left": 0, "top": 0.25, "right": 0.5, "bottom": 1}]
    assert data["copies"] == ["/b.jpg"]
    assert "p" not in data
    assert as_data(Hit(1, Path("/a.jpg"), 1.0, 0.5, 0.5, p=0.25))["p"] == 0.25


def test_the_wrong_hits_that_are_expected_add_up() -> None:
    hits = [Hit(i, Path("/a.jpg"), 1.0, 0.5, 0.5, p=p) for i, p in enumerate((1.0, 0.75, 0.5))]
    assert expected(hits) == {"photos": 3, "wrong": pytest.approx(0.75)}
    assert expected([]) == {"photos": 0, "wrong": 0}
