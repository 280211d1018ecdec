import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.paths import path_to_text, text_to_path

names = st.binary(min_size=1, max_size=40).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)


@given(names)
def test_any_file_name_comes_back_byte_for_byte(name: bytes) -> None:
    assert os.fsencode(text_to_path(path_to_text(name))) == name
    assert path_to_text(text_to_path(path_to_text(name))) == path_to_text(name)


@given(st.lists(names, min_size=1, max_size=5))
def test_a_path_of_several_folders_comes_back(parts: list[bytes]) -> None:
    path = Path(*map(os.fsdecode, parts))
    assert text_to_path(path_to_text(path)) == path


@given(names, names)
def test_different_names_are_different_text(one: bytes, other: bytes) -> None:
    assert (path_to_text(one) == path_to_text(other)) == (one == other)


@given(names)
def test_the_text_is_always_storable(name: bytes) -> None:
    path_to_text(name).encode("utf-8")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"holiday.jpg", "holiday.jpg"),
        ("Grüße 🏖.jpg".encode(), "Grüße 🏖.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        (b"back\\slash.jpg", "back\\\\slash.jpg"),
        (rb"caf\xe9.jpg", "caf\\\\xe9.jpg"),
        (b"two\nlines.jpg", "two\nlines.jpg"),
    ],
)
def test_only_backslashes_and_broken_bytes_are_escaped(name: bytes, text: str) -> None:
    assert path_to_text(name) == text
    assert os.fsencode(text_to_path(text)) == name


@pytest.mark.parametrize("text", ["a\\b", "end\\", "\\xe", "\\xZZ"])
def test_text_that_no_path_gives_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the text of a path"):
        text_to_path(text)
