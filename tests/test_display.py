"""Values as text."""

import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from mkt_search.display import (
    byte_size,
    count_noun,
    duration,
    first_few,
    local_time,
    path_as_text,
    printable,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Grüße 🏖️ 写真.jpg", "Grüße 🏖️ 写真.jpg"),
        ("👩\u200d👧.jpg", "👩\u200d👧.jpg"),
        ("two\nlines\tand\rmore", "two\\nlines\\tand\\rmore"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("wide\u3000space\xa0here", "wide space here"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_byte_that_is_not_utf_8_is_escaped() -> None:
    assert printable(Path(os.fsdecode(b"/a/\xff.jpg"))) == "/a/\\xff.jpg"


def test_path_in_utf_8_stays_as_it_is() -> None:
    assert path_as_text(Path("/a/two\nlines \\.jpg")) == "/a/two\nlines \\.jpg"


def test_other_path_is_escaped_as_in_the_library() -> None:
    assert path_as_text(Path(os.fsdecode(b"/a\\b/\xff.jpg"))) == "/a\\\\b/\\xff.jpg"


@pytest.mark.parametrize(
    ("count", "noun", "plural", "text"),
    [
        (0, "photo", "", "0 photos"),
        (1, "photo", "", "1 photo"),
        (12_408, "photo", "", "12,408 photos"),
        (2, "copy", "copies", "2 copies"),
    ],
)
def test_count_and_noun_agree(count: int, noun: str, plural: str, text: str) -> None:
    assert count_noun(count, noun, plural) == text


def test_only_the_first_names_are_listed() -> None:
    assert first_few(["a", "b"]) == "a, b"
    assert first_few(list("abcdefg")) == "a, b, c, d, e and 2 more"


@pytest.mark.parametrize(
    ("count", "text"),
    [(999, "999 bytes"), (8_300, "8.3 KB"), (1_240_000_000, "1.2 GB"), (5 * 10**15, "5,000.0 TB")],
)
def test_sizes_have_decimal_units(count: int, text: str) -> None:
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (8.2, "8 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert local_time(datetime(2024, 5, 17, 23, 30)) == "2024-05-18 01:30"
    finally:
        monkeypatch.undo()
        time.tzset()
