"""Text that is safe where it goes."""

import os
from pathlib import Path

import pytest

from mkt_search.display import clean, storable


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
def test_what_could_steer_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_byte_that_is_not_text_is_spelled_out() -> None:
    assert clean(Path(os.fsdecode(b"/a/\xff.jpg"))) == "/a/\\xff.jpg"


def test_path_that_is_text_is_stored_as_it_is() -> None:
    assert storable(Path("/a/two\nlines \\.jpg")) == "/a/two\nlines \\.jpg"


def test_path_that_is_not_text_is_stored_as_the_library_keeps_it() -> None:
    assert storable(Path(os.fsdecode(b"/a\\b/\xff.jpg"))) == "/a\\\\b/\\xff.jpg"
