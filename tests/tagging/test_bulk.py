"""Bulk tagging: what is written, which rules are refused."""

import pytest

from mkt_search.errors import QueryError
from mkt_search.tagging.bulk import check_rule


@pytest.mark.parametrize(
    ("top", "threshold", "labels"),
    [(0, None, ["a"]), (-1, 0.5, ["a"]), (3, None, []), (3, 1.5, ["a"])],
)
def test_a_rule_that_tags_everything_or_nothing_is_refused(top, threshold, labels) -> None:
    with pytest.raises(QueryError):
        check_rule(top=top, threshold=threshold, labels=labels)
