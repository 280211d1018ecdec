import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.paths import bare_name, path_to_text, text_to_path

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


@pytest.mark.parametrize("name", ["1-0a9f.safetensors", "meta.json", "3-b.pq", "a" * 200])
def test_the_name_of_a_file_is_taken(name: str) -> None:
    assert bare_name(name) == name


@given(st.one_of(st.text(), st.binary(), st.none(), st.integers(), st.lists(st.text())))
def test_whatever_is_taken_for_a_name_stays_in_its_folder(value: object) -> None:
    try:
        name = bare_name(value)
    except ValueError:
        return
    assert (Path("/folder") / name).parent == Path("/folder") and name not in (".", "..")


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "../a", "/a", "a/b", "a\\b", "C:a", ".hidden", "a\n", "a\0", "a" * 201, 7],
)
def test_a_name_that_leads_elsewhere_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not the name of a file in its folder"):
        bare_name(value)
