"""HTML templates: every value is escaped and none may be missing."""

from datetime import datetime

import jinja2
import pytest

from mkt_search.pages import html

MADE_AT = datetime(2026, 5, 17)


def test_values_are_escaped() -> None:
    page = html.render("sheet.html", query="<b>&", count=0, cards=[], made_at=MADE_AT)
    assert "<h1>&lt;b&gt;&amp;</h1>" in page


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="made_at"):
        html.render("sheet.html", query="dog", count=0, cards=[])
