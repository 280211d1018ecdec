"""Hits of a search as JSON."""

from collections.abc import Sequence
from typing import NotRequired

from typing_extensions import TypedDict

from mkt_search.display import path_as_text
from mkt_search.types import Box, DateSource, Hit


class BoxData(TypedDict):
    left: float
    top: float
    right: float
    bottom: float


HitData = TypedDict(  # written as a call because of "global"
    "HitData",
    {
        "photo": int,
        "path": str,
        "p": NotRequired[float],
        "score": float,
        "global": float,
        "local": float,
        "boxes": list[BoxData],
        "copies": list[str],
        "taken_at": str | None,
        "date_source": DateSource | None,
    },
)


class ExpectedData(TypedDict):
    """How many photos were chosen, and how many of them are expected to be wrong."""

    photos: int
    wrong: float


def as_data(hit: Hit) -> HitData:
    """Return a hit as JSON values; boxes are fractions of the upright photo's width and height."""
    found: HitData = {
        "photo": hit.photo_id,
        "path": path_as_text(hit.path),
        "score": hit.score,
        "global": hit.global_part,
        "local": hit.local_part,
        "boxes": [box_as_data(box) for box in hit.boxes],
        "copies": [path_as_text(path) for path in hit.copies],
        "taken_at": hit.taken_at.isoformat() if hit.taken_at else None,
        "date_source": hit.date_source,
    }
    if hit.p is not None:
        found["p"] = hit.p
    return found


def box_as_data(box: Box) -> BoxData:
    """Return a box as JSON values."""
    return {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}


def expected(hits: Sequence[Hit]) -> ExpectedData:
    """Return how many of hits that have p are expected to be wrong."""
    return {"photos": len(hits), "wrong": float(sum(1 - (hit.p or 0.0) for hit in hits))}
