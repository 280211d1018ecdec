"""Completion of labels: each once, tags first, then searches, then vocabularies."""

from pathlib import Path

import pytest

from mkt_search import Library

TOML = '["walrus"]\nsynonyms = ["sea cow"]\n'


@pytest.fixture
def opened(own_library: Path) -> Library:
    (own_library / "labels.toml").write_text(TOML)
    library = Library.open(own_library)
    library.add_tag(own_library / "photos" / "red.png", "Dog")
    library.search("green")
    return library


def test_a_label_comes_once_and_a_tag_before_all(opened: Library) -> None:
    with opened:
        hints = opened.complete("DO")
    assert (hints[0].label, hints[0].kind) == ("Dog", "tag")
    assert [hint.label.lower() for hint in hints].count("dog") == 1
    assert all(hint.label.lower().startswith("do") for hint in hints)


@pytest.mark.parametrize(
    ("prefix", "label", "kind"),
    [("gree", "green", "query"), ("wal", "walrus", "vocabulary"), ("cat", "cat", "vocabulary")],
)
def test_searches_and_vocabularies_are_completed(
    opened: Library, prefix: str, label: str, kind: str
) -> None:
    with opened:
        assert (label, kind) in [(hint.label, hint.kind) for hint in opened.complete(prefix)]


@pytest.mark.parametrize("prefix", ["%", "_", "\\", "zzzz"])
def test_signs_of_patterns_are_letters(opened: Library, prefix: str) -> None:
    with opened:
        assert opened.complete(prefix) == []


def test_no_more_are_returned_than_asked(opened: Library) -> None:
    with opened:
        assert len(opened.complete("", count=3)) == 3
