"""Arguments of the Python interface: one path or several, never one text for labels."""

from pathlib import Path

import pytest

from mkt_search.arguments import as_paths, refuse_text, refuse_unknown
from mkt_search.errors import QueryError


def test_one_path_is_a_list_of_one_and_several_stay() -> None:
    assert as_paths("a.jpg") == ["a.jpg"] and as_paths(Path("a")) == [Path("a")]
    assert as_paths(["a", Path("b")]) == ["a", Path("b")]


def test_one_text_is_no_list_of_labels() -> None:
    refuse_text(["dog"])
    with pytest.raises(QueryError, match=r'Write \["dog"\]'):
        refuse_text("dog")


def test_a_value_that_nothing_has_is_refused_with_those_that_there_are() -> None:
    for value in (None, "auto"):
        refuse_unknown("source", value, ("auto", "human"))
    with pytest.raises(QueryError, match='no source "me"; choose from auto, human'):
        refuse_unknown("source", "me", ("auto", "human"))
