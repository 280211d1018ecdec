"""Queries as people write them."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.errors import QueryError
from mkt_search.search.query import describe, merged, note, parse, quoted, terms
from mkt_search.spelling import clean_label
from mkt_search.types import Term


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dog", [("dog", 1)]),
        ("  polar bear ", [("polar bear", 1)]),
        ("dog + beach", [("dog", 1), ("beach", 1)]),
        ("dog - person", [("dog", 1), ("person", -1)]),
        ("- person + dog", [("person", -1), ("dog", 1)]),
        ("2*dog + 0.5 * beach", [("dog", 2), ("beach", 0.5)]),
        ("t-shirt", [("t-shirt", 1)]),
        ("black-and-white + c++", [("black-and-white", 1), ("c++", 1)]),
        ("Ünïcode 🐶", [("Ünïcode 🐶", 1)]),
        ('"rock + roll"', [("rock + roll", 1)]),
        ('2*"rock + roll" - "a - b" + dog', [("rock + roll", 2), ("a - b", -1), ("dog", 1)]),
        ('0.5 * "2*dog" + “hide – seek”', [("2*dog", 0.5), ("hide – seek", 1)]),
        ('rock "n" roll + 5" nail', [('rock "n" roll', 1), ('5" nail', 1)]),
        ("M*A*S*H", [("M*A*S*H", 1)]),
        ("1e2*dog", [("dog", 100)]),
    ],
)
def test_a_query_reads_as_written(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(term.label, term.weight) for term in parse(text)] == expected


@pytest.mark.parametrize(
    "text", ["", "   ", "dog + ", "+ + dog", "dog - - cat", "2*", '""', "\u200b"]
)
def test_an_empty_term_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(QueryError, match=r'empty term.*"dog \+ beach - person"'):
        parse(text)


def test_a_weight_of_zero_is_refused() -> None:
    with pytest.raises(QueryError, match="weight"):
        parse("0*dog")


@pytest.mark.parametrize("weight", ["nan", "1e999", "inf", "-2", "9" * 400, "1e7"])
def test_a_number_that_is_no_weight_is_refused(weight: str) -> None:
    with pytest.raises(QueryError, match=r'" is no weight: write a number from 0 to 1,000,000'):
        parse(f"{weight}*dog")


@pytest.mark.parametrize("text", ['"rock + roll', 'dog - "a b', '"a" b'])
def test_quotation_marks_enclose_a_whole_label(text: str) -> None:
    with pytest.raises(QueryError, match="do not enclose a whole label"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "odd", "meant"),
    [
        ("red star -snow", "-snow", "red star - snow"),
        ("dog +beach - cat", "+beach", "dog + beach - cat"),
        ("dog \u2013 person", "\u2013", "dog - person"),
        ("dog \u2212person", "\u2212person", "dog - person"),
    ],
)
def test_a_sign_that_was_read_as_a_letter_is_remarked_on(text: str, odd: str, meant: str) -> None:
    remark = note(text)
    assert remark is not None
    assert remark.startswith(f'"{odd}" was read as part of a label')
    assert remark.endswith(f'write "{meant}".')


@pytest.mark.parametrize(
    "text", ["dog + beach - person", "t-shirt", "- person + dog", "-5 degrees", '"red -snow"', ""]
)
def test_other_queries_need_no_remark(text: str) -> None:
    assert note(text) is None


@given(st.text(st.sampled_from('ab+-*" .2\u2013')).map(clean_label))
def test_a_label_is_read_as_it_is_quoted(label: str) -> None:
    if label and '"' not in label:
        assert parse(f"{quoted(label)} + dog") == [Term(label=label), Term(label="dog")]


@pytest.mark.parametrize("place", ["https://example.org/a.jpg", "file:///a.jpg", "s3://bucket/a"])
def test_an_address_is_no_photo(place: str) -> None:
    with pytest.raises(QueryError, match="is an address: --like takes the path of a photo"):
        terms([], like=[Path(place)])
    assert terms([], like=[Path("C:/a.jpg"), Path("a: b.jpg")])


@pytest.mark.parametrize("text", ["- dog", "dog - dog", "dog + cat - 2*dog - cat"])
def test_a_query_that_only_avoids_or_cancels_out_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="asks for nothing"):
        terms([text])


def test_parts_from_options_are_added() -> None:
    found = terms(["dog"], unwanted=["cat"], like=[Path("a.jpg")])
    assert found == [
        Term(label="dog"),
        Term(label="cat", weight=-1.0),
        Term(photo=Path("a.jpg")),
    ]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Term(), "either a label or a photo"),
        (Term(label=" "), "either a label or a photo"),
        (Term(label="dog", photo=Path("a.jpg")), "either a label or a photo"),
        (Term(label="dog", weight=math.nan), "Give a finite number"),
        (Term(label="dog", weight=math.inf), "Give a finite number"),
        ("dog", r"'dog' is not a term. Give the query as text, or as a list of Term"),
    ],
)
def test_a_part_that_is_no_term_is_refused(part: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        merged([part])


@given(st.text())
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        found = parse(text)
    except QueryError:
        return
    assert found
    assert all(term.label and term.label.strip() and term.weight for term in found)


def test_spellings_of_a_label_are_one_term_in_the_first_spelling() -> None:
    found = merged(
        [Term(label="Red\u00a0Car"), Term(label=" red car"), Term(label="RED CAR\u200b")]
    )
    assert found == [Term(label="Red Car", weight=3)]
    with pytest.raises(QueryError, match="asks for nothing"):
        terms(["Beach - beach"])


def test_terms_of_one_label_or_photo_are_put_together_and_what_cancels_out_is_gone() -> None:
    found = merged(
        [
            Term(label="dog"),
            Term(label="cat", weight=-1),
            Term(photo=Path("a.jpg"), weight=2),
            Term(label="dog", weight=0.5),
            Term(label="cat"),
        ]
    )
    assert found == [Term(label="dog", weight=1.5), Term(photo=Path("a.jpg"), weight=2)]


def test_a_query_is_described_on_one_line() -> None:
    terms = [Term("dog", weight=2), Term(photo=Path("a\nb.jpg")), Term("cat", weight=-1)]
    assert describe(terms) == "2*dog + like a\\nb.jpg - cat"


@pytest.mark.parametrize(
    ("label", "shown"), [("rock + roll", '"rock + roll"'), ("t-shirt", "t-shirt")]
)
def test_a_query_is_described_as_it_is_written(label: str, shown: str) -> None:
    assert describe([Term(label=label, weight=2), Term(label="x")]) == f"2*{shown} + x"
