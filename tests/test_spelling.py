"""Labels and paths that look the same are the same."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.spelling import (
    PLAIN,
    clean_label,
    distinct_labels,
    label_key,
    path_key,
    small_letters,
)

CAFE = unicodedata.normalize("NFC", "Café am Meer")


@pytest.mark.parametrize(
    "spelled",
    [
        "CAFÉ AM MEER",
        unicodedata.normalize("NFD", "café am meer"),
        "  Café \t am\nMeer ",
        "Café\u00a0am\u202fMeer",
        "Caf\u200bé am\u200b Meer\ufeff",
        "Ca\u00adfé am Meer\u200d",
        "\u200eCafé am Me\u200cer",
    ],
    ids=ascii,
)
def test_every_spelling_of_a_label_has_one_key(spelled: str) -> None:
    assert label_key(spelled) == label_key(CAFE)
    assert path_key(spelled.strip()).replace("\t", " ") != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("t\u2011shirt", "t-shirt"),
        ("❤\ufe0f", "❤"),
        ("ΟΔΟΣ", "οδος"),
        ("ﬁsh", "fish"),
    ],
    ids=ascii,
)
def test_capitals_hyphens_and_colors_of_emoji_make_no_other_label(one: str, other: str) -> None:
    assert label_key(one) == label_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cafe", "café"),
        ("t shirt", "t-shirt"),
        ("👨\u200d👩\u200d👧", "👨👩👧"),
        ("می\u200cخواهم", "میخواهم"),
        ("m²", "m2"),
    ],
    ids=ascii,
)
def test_what_looks_different_is_another_label(one: str, other: str) -> None:
    assert label_key(one) != label_key(other)


def test_a_label_is_shown_with_its_capitals_and_emoji() -> None:
    assert clean_label(" Cafe\u0301\u00a0\u200bam  Meer ❤\ufe0f") == "Café am Meer ❤\ufe0f"


def test_each_label_is_taken_once_in_its_first_spelling() -> None:
    given = ["Beach", "sea", "beach", "BEACH\u200b", " ", "\u200b", "Sea"]
    assert distinct_labels(given) == ["Beach", "sea"]


@given(st.text(st.characters(codec="utf-8")))
@settings(max_examples=200)
def test_a_key_is_that_of_the_clean_label_and_of_itself(label: str) -> None:
    clean = clean_label(label)
    assert clean_label(clean) == clean
    assert label_key(clean) == label_key(label) == label_key(label_key(label))
    assert label_key(unicodedata.normalize("NFD", label)) == label_key(label)


@given(st.text(st.characters(codec="utf-8")))
@settings(max_examples=100)
def test_the_key_of_a_path_has_a_letter_for_each_that_is_seen(text: str) -> None:
    key = path_key(text)
    assert path_key(key) == key == path_key(unicodedata.normalize("NFD", text))
    assert len(key) <= len(unicodedata.normalize("NFC", text))


@given(st.text(st.characters(codec="utf-8")))
@settings(max_examples=100)
def test_a_server_can_make_the_key_of_a_path_from_tables(text: str) -> None:
    composed = unicodedata.normalize("NFC", text.translate(PLAIN))
    assert composed.translate(small_letters()) == path_key(text)


def test_paths_of_another_machine_are_compared_as_people_read_them() -> None:
    assert path_key("Urlaub/E\u0301te\u0301 at 3.04\u202fPM.png") == "urlaub/été at 3.04 pm.png"
    assert path_key("İzmir/ΟΔΟΣ") == path_key("izmir/οδοσ")
    assert path_key("STRAẞE/straße") == path_key("straße/straße")
