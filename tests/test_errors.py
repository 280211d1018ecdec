"""The errors."""

from mkt_search.errors import UnknownLabel


def test_an_unknown_label_has_its_sentence_and_its_labels() -> None:
    error = UnknownLabel('unknown label "hovercraft"', frozenset({"hovercraft"}))
    assert str(error) == 'unknown label "hovercraft"'
    assert error.labels == {"hovercraft"}
    assert UnknownLabel("unknown").labels == frozenset()
