"""Read a query: `dog + beach - person`, `2*dog + 0.5*beach`, `"rock + roll"`.

`+` and `-` separate terms only when surrounded by spaces, so "t-shirt" and "black-and-white" are
single labels; a leading "- " makes the first term unwanted. Quotation marks around a label keep
what is between them together.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mkt_search.display import printable
from mkt_search.errors import QueryError
from mkt_search.spelling import clean_label, label_key
from mkt_search.types import Term

SIGNS = ("+", "-")
DASHES = "\u2012\u2013\u2014\u2212"
"""Figure, en and em dash and the minus sign, which word processors put in place of "-"."""
WORD = re.compile(r'(?:\S+\*)?"[^"]*"(?!\S)|\S+')  # one in quotes goes on over spaces
QUOTED = re.compile(r'"([^"]*)"')
CURLY = str.maketrans(dict.fromkeys("\u201c\u201d\u201e", '"'))
WEIGHT = re.compile(r"([^\s*]+)\s*\*\s*(.*)")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # two letters; "C:/" is a path
MAX_WEIGHT = 1e6
"""So that sums of scores stay finite in float32."""


def parse(text: str) -> list[Term]:
    """Return the terms of a query. Raises QueryError where one is empty or has no usable weight."""
    parts: list[tuple[str, list[str]]] = [("+", [])]
    for number, word in enumerate(_words(text)):
        if word not in SIGNS:
            parts[-1][1].append(word)
        elif number == 0:
            parts[0] = (word, [])
        else:
            parts.append((word, []))
    return [_term(" ".join(words), sign, text) for sign, words in parts]


def note(text: str) -> str | None:
    """Return a remark on a query with a sign that was read as part of a label; None without one."""
    words = _words(text)
    meant = [_as_sign(word) for word in words]
    if meant == words:
        return None
    odd = next(word for word, sign in zip(words, meant, strict=True) if word != sign)
    return (
        f'"{odd}" was read as part of a label: signs are + and - with a space on both sides. '
        f'If you mean a sign, write "{" ".join(meant).strip()}".'
    )


def quoted(label: str) -> str:
    """Return a label as it is written in a query: in quotation marks if they are needed."""
    try:
        is_plain = [term.label for term in parse(label)] == [label] and not QUOTED.search(label)
    except QueryError:
        is_plain = False
    return label if is_plain else f'"{label}"'


def describe(terms: Sequence[Term]) -> str:
    """Return a query as one line: `2*dog + like beach.jpg - person`."""
    text = ""
    for term in terms:
        name = quoted(term.label) if term.label else f"like {printable(term.photo or '')}"
        weight = "" if abs(term.weight) == 1 else f"{abs(term.weight):g}*"
        sign = " - " if term.weight < 0 else " + "
        text += sign + weight + name
    return text.removeprefix(" + ").strip()


def _words(text: str) -> list[str]:
    """Split a query at spaces that are not in quotation marks."""
    return WORD.findall(clean_label(text).translate(CURLY))


def _as_sign(word: str) -> str:
    """Return a word that looks like a sign as one, and any other word as it is."""
    if word in tuple(DASHES):
        return "-"
    if word[0] in (*SIGNS, *DASHES) and word[1:2].isalpha():
        return f"{'+' if word[0] == '+' else '-'} {word[1:]}"
    return word


def _term(text: str, sign: str, query: str) -> Term:
    weight, label = _weight_and_label(text)
    if quotes := QUOTED.fullmatch(label):
        label = clean_label(quotes[1])
    elif label.startswith('"'):
        raise QueryError(
            f"The query {query} has quotation marks that do not enclose a whole label. Write them "
            'around it, as in "rock + roll" - opera.'
        )
    if not label:
        raise QueryError(
            f'The query "{query}" has an empty term. Write labels between + and -, as in '
            '"dog + beach - person".'
        )
    if weight == 0:
        raise QueryError(f'The weight of "{label}" is 0, so the term has no effect. Leave it out.')
    return Term(label=label, weight=-weight if sign == "-" else weight)


def _weight_and_label(text: str) -> tuple[float, str]:
    """Split `2*dog`; text before a `*` that is no number is part of the label.

    Raises:
        QueryError: the number is none that a term can be weighted with.
    """
    found = WEIGHT.fullmatch(text)
    try:
        weight = float(found[1]) if found else 1.0
    except ValueError:
        found, weight = None, 1.0
    if found is None:
        return weight, text
    if not 0 <= weight <= MAX_WEIGHT:
        shown = found[1] if len(found[1]) <= 20 else f"{found[1][:20]}..."
        raise QueryError(
            f'"{shown}" is no weight: write a number from 0 to {MAX_WEIGHT:,.0f} before the *, and '
            f'"- {found[2] or "person"}" for what to avoid.'
        )
    return weight, found[2]


def terms(
    queries: Sequence[str], *, unwanted: Sequence[str] = (), like: Sequence[Path] = ()
) -> list[Term]:
    """Return the terms of a whole query. Raises QueryError if nothing is wanted."""
    parts = [term for query in queries for term in parse(query)]
    parts += [Term(label=label, weight=-1.0) for label in unwanted]
    parts += [Term(photo=path) for path in like]
    return merged(parts)


def merged(parts: Sequence[Term]) -> list[Term]:
    """Add up the weights of terms with the same label or photo; drop those that cancel out.

    A label is kept in its first spelling.

    Raises:
        QueryError: no label or photo has a positive weight, or a part is not a term with one of
            them and a finite weight.
    """
    for part in parts:
        _check(part)
    first: dict[str | Path, Term] = {}
    weights: dict[str | Path, float] = defaultdict(float)
    for term in parts:
        first.setdefault(_name(term), term)
        weights[_name(term)] += term.weight
    if not any(weight > 0 for weight in weights.values()):
        raise QueryError(
            "The query asks for nothing: name at least one label or photo to look for, besides "
            "those to avoid."
        )
    return [
        replace(first[name], label=clean_label(first[name].label or "") or None, weight=weight)
        for name, weight in weights.items()
        if weight
    ]


def _name(term: Term) -> str | Path:
    """Return what terms of the same label or photo share."""
    return label_key(term.label or "") if term.photo is None else term.photo


def _check(term: Term) -> None:
    """Raise QueryError unless the term has a label or a photo, and a finite weight."""
    if not isinstance(term, Term):
        raise QueryError(
            f"{term!r} is not a term. Give the query as text, or as a list of Term(label=...) and "
            "Term(photo=...)."
        )
    if bool(clean_label(term.label or "")) == (term.photo is not None):
        raise QueryError(
            "A term needs either a label or a photo: Term(label=...), Term(photo=...)."
        )
    if term.photo is not None and (found := ADDRESS.match(str(term.photo))):
        raise QueryError(
            f"{term.photo} begins with {found[0]} and is an address: --like takes the path of a "
            "photo on this machine, in the library or not. Download it first."
        )
    if not math.isfinite(term.weight) or abs(term.weight) > MAX_WEIGHT:
        raise QueryError(
            f"The weight of a term is {term.weight:g}. Give a finite number of at most "
            f"{MAX_WEIGHT:,.0f}."
        )
