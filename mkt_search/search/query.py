"""Read a query: `dog + beach - person`, `2*dog + 0.5*beach`.

`+` and `-` separate terms only when surrounded by spaces, so "t-shirt" and "black-and-white" are
single labels; a leading "- " makes the first term unwanted.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mkt_search.errors import QueryError
from mkt_search.spelling import clean_label, label_key
from mkt_search.types import Term

SIGNS = ("+", "-")
WEIGHT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*\*\s*(.*)", re.DOTALL)


def parse(text: str) -> list[Term]:
    """Return the terms of a query. Raises QueryError where one is empty."""
    parts: list[tuple[str, list[str]]] = [("+", [])]
    for number, word in enumerate(text.split()):
        if word not in SIGNS:
            parts[-1][1].append(word)
        elif number == 0:
            parts[0] = (word, [])
        else:
            parts.append((word, []))
    return [_term(" ".join(words), sign, text) for sign, words in parts]


def _term(text: str, sign: str, query: str) -> Term:
    weighted = WEIGHT.fullmatch(text)
    weight, label = (float(weighted[1]), weighted[2].strip()) if weighted else (1.0, text)
    if not label:
        raise QueryError(
            f'The query "{query}" has an empty term. Write labels between + and -, as in '
            '"dog + beach - person".'
        )
    if weight == 0:
        raise QueryError(f'The weight of "{label}" is 0, so the term has no effect. Leave it out.')
    return Term(label=label, weight=-weight if sign == "-" else weight)


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
    if not math.isfinite(term.weight):
        raise QueryError(f"The weight of a term is {term.weight}. Give a finite number.")
