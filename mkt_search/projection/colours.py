"""What the points of a map are coloured by: one byte a point."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import score_similarities
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.store.timeline import Timeline
from mkt_search.types import Vector

Colours = NDArray[np.uint8]

MOST = 255
NO_MONTH = -1
PHOTOS_AT_ONCE = 4_096
BLOCKS_PER_RELEASE = 16


class MapColours(NamedTuple):
    """A byte for each point, and what the lowest and the highest of them stand for.

    `values` (n,) uint8; 0 also stands for a photo of which nothing is known.
    """

    values: Colours
    lowest: str
    highest: str


def by_membership(content_ids: ContentIds, members: ContentIds) -> MapColours:
    """Return 255 for the contents that are in a list, else 0."""
    values = np.isin(content_ids, members).astype(np.uint8) * np.uint8(MOST)
    return MapColours(values, "no", "yes")


def by_month(photo_ids: NDArray[np.int64], timeline: Timeline) -> MapColours:
    """Return 1 for the earliest month, 255 for the latest, 0 for a photo without a date.

    Args:
        photo_ids: (n,), the photos; one that the timeline does not have is 0.
        timeline: of the library.
    """
    numbers = [NO_MONTH if each.month is None else _number(each.month) for each in timeline.months]
    month_of = np.repeat(np.array(numbers, np.int64), [each.count for each in timeline.months])
    order = np.argsort(timeline.ids)
    months = np.full(len(photo_ids), NO_MONTH, np.int64)
    if len(order):
        rows = np.searchsorted(timeline.ids, photo_ids, sorter=order)
        rows = order[np.minimum(rows, len(order) - 1)]
        months = np.where(timeline.ids[rows] == photo_ids, month_of[rows], NO_MONTH)
    values = np.zeros(len(photo_ids), np.uint8)
    is_dated = months != NO_MONTH
    dated = months[is_dated]
    if not len(dated):
        return MapColours(values, "", "")
    first, last = int(dated.min()), int(dated.max())
    values[is_dated] = 1 + (dated - first) * (MOST - 1) // max(last - first, 1)
    return MapColours(values, _month(first), _month(last))


def by_score(content_ids: ContentIds, snapshot: Snapshot, label: Vector) -> MapColours:
    """Return the scores of photos for a label (D,), 0 the lowest and 255 the highest.

    A photo that the snapshot does not have is 0.
    """
    scores = np.full(len(content_ids), np.nan, np.float32)
    is_live = np.isin(content_ids, snapshot.content_ids())
    live = np.flatnonzero(is_live)
    order = live[np.argsort(content_ids[live], kind="stable")]  # about as they lie on disk
    top_k = snapshot.facts.encoding.top_k
    for number, first in enumerate(range(0, len(order), PHOTOS_AT_ONCE), start=1):
        part = order[first : first + PHOTOS_AT_ONCE]
        found = snapshot.similarities(content_ids[part], label[None])
        scores[part] = score_similarities(found.products, found.counts, k=top_k).fused[:, 0]
        if number % BLOCKS_PER_RELEASE == 0:
            snapshot.release_pages()
    known = scores[is_live]
    if not len(known):
        return MapColours(np.zeros(len(scores), np.uint8), "", "")
    low, high = float(known.min()), float(known.max())
    share = (scores - low) / max(high - low, 1e-9)
    values = np.where(is_live, np.rint(MOST * share), 0).astype(np.uint8)
    return MapColours(values, f"{low:.3f}", f"{high:.3f}")


def _number(month: str) -> int:
    """Return a month such as "2024-05" as the number of months since the year 0."""
    year, of_year = month.split("-")
    return 12 * int(year) + int(of_year) - 1


def _month(number: int) -> str:
    return f"{number // 12:04}-{number % 12 + 1:02}"
