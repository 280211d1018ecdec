"""The report of the demo: one HTML file with everything in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mkt_search.demo.scenes.world import unseen_things
from mkt_search.pages import html, sheet
from mkt_search.pages.sheet import Card, Thumbnail, make_thumbnail
from mkt_search.types import Hit

SIDE = 220  # pixels of a thumbnail


@dataclass(frozen=True)
class Step:
    """A command of the tour and its time in seconds."""

    command: str
    seconds: float


@dataclass(frozen=True)
class Search:
    """A query and its hits. `kind` is seen, unseen or mixed; `right` marks hits that show it."""

    query: str
    kind: str
    hits: Sequence[Hit]
    right: Sequence[bool]

    @property
    def cards(self) -> list[Card]:
        """The hits as cards."""
        return list(sheet.cards(self.hits, SIDE))


@dataclass(frozen=True)
class TaggedPhoto:
    """A photo, its automatic tags with scores, and the labels that it shows."""

    path: Path
    tags: Sequence[tuple[str, float]]
    shows: frozenset[str]

    @property
    def thumbnail(self) -> Thumbnail:
        """A thumbnail of the photo."""
        return make_thumbnail(self.path, SIDE)

    @property
    def missed(self) -> list[str]:
        """The labels that it shows and was not tagged with."""
        return sorted(self.shows - {label for label, _ in self.tags})


@dataclass(frozen=True)
class Tagging:
    """The result of tagging: the number of tags, their precision and their recall in [0, 1]."""

    tags: int
    precision: float
    recall: float
    photos: Sequence[TaggedPhoto]


@dataclass(frozen=True)
class Findings:
    """The content of the report; `evaluation` is the JSON of `mkt evaluate`."""

    photos: int
    searches: Sequence[Search]
    tagging: Tagging
    evaluation: Mapping[str, Any]
    steps: Sequence[Step]
    made_at: datetime


def render(findings: Findings) -> str:
    """Return the report as HTML."""
    return html.render(
        "demo.html",
        findings=findings,
        rows=list(table_rows(findings.evaluation)),
        hidden=frozenset(unseen_things()),
        total=sum(step.seconds for step in findings.steps),
    )


def table_rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row of the evaluation table for each model, prompt and stream.

    On the vocabulary scale: mAP of the unseen labels (ZSL) and of all (GZSL), F1@3 and F1@5 of all.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in evaluation["rows"]:
        if row["scale"] != "vocabulary":
            continue
        key = (row["model"], row["prompt"], row["stream"])
        names = dict(zip(("model", "prompt", "stream"), key, strict=True))
        line = found.setdefault(key, {**names, **dict.fromkeys(("zsl", "gzsl", "f3", "f5"))})
        if row["protocol"] == "ZSL":
            line["zsl"] = row["standard"]
        if row["protocol"] == "GZSL":
            line |= {
                "gzsl": row["standard"],
                "f3": row["paper"].get("F1@3"),
                "f5": row["paper"].get("F1@5"),
            }
    return list(found.values())
