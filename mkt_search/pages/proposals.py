"""A page of the tags that a run would set: of each label some photos, in one HTML file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mkt_search.display import printable
from mkt_search.pages import html
from mkt_search.pages.sheet import Card, cards
from mkt_search.types import Hit

SIDE = 192  # pixels of a thumbnail; a page may have thousands
PLACES = ((), ("best",), ("best", "last"), ("best", "middle", "last"))


@dataclass(frozen=True)
class Proposal:
    """A label, how many photos would have it, and some of them: the best one, middle, last."""

    label: str
    photos: int
    examples: Sequence[Hit]


@dataclass(frozen=True)
class _Section:
    """A label with the cards of its photos."""

    label: str
    photos: int
    cards: Sequence[Card]


def write(file: Path, proposals: Sequence[Proposal], *, summary: str, made_at: datetime) -> None:
    """Write the page.

    Args:
        file: the HTML file; replaced if it exists.
        proposals: in the order of the page.
        summary: what the run would do, in a sentence.
        made_at: local time to print.

    Raises:
        StoreError: the file cannot be written.
    """
    html.write(file, render(proposals, summary=summary, made_at=made_at))


def render(proposals: Sequence[Proposal], *, summary: str, made_at: datetime) -> str:
    """Return the page as HTML."""
    return html.render(
        "proposals.html", sections=_sections(proposals), summary=summary, made_at=made_at
    )


def _sections(proposals: Sequence[Proposal]) -> Iterator[_Section]:
    for proposal in proposals:
        places = PLACES[len(proposal.examples)]
        found = [
            replace(card, place=place)
            for card, place in zip(cards(proposal.examples, SIDE), places, strict=True)
        ]
        yield _Section(printable(proposal.label), proposal.photos, found)
