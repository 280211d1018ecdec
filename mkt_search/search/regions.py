"""Where a photo shows a label: rectangles, and a heat map of its patches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mkt_search.search.boxes import boxes_of
from mkt_search.search.hits import views_of
from mkt_search.search.search import patches_used
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.store.records import PhotoRecord
from mkt_search.types import Box, ImageSpec, Term, Vector

MAX_CELLS = 256  # of the heat map, along one side


@dataclass(frozen=True)
class Region:
    """Where a photo shows one term of a query.

    `boxes` are as in a `Hit`. `heat` (rows, columns) covers the whole photo: a cell has the best
    score of the local vectors that have its patch, scaled so that the best of the photo is 1 and
    the least 0. Patches that no local vector has, and what the model does not look at, are 0.
    """

    term: Term
    boxes: tuple[Box, ...]
    heat: Vector


def regions_of(
    snapshot: Snapshot,
    content_id: ContentIds,
    photo: PhotoRecord,
    spec: ImageSpec,
    terms: Sequence[Term],
    vectors: Vector,
) -> list[Region]:
    """Return where a photo shows each term.

    Args:
        snapshot: has the vectors of the photo.
        content_id: (1,), its content.
        photo: its size.
        spec: how the student sees it.
        terms: T terms.
        vectors: (T, D), their unit vectors.
    """
    views = views_of(photo, snapshot.facts.encoding, spec)
    grid = snapshot.facts.encoding.grid
    products, counts = snapshot.similarities(content_id, vectors)  # (1, 1 + m, T), (1, m)
    members = snapshot.member_patches(content_id)[0] & (counts[0] > 0)[:, None]  # (m, V P)
    found = []
    for number, term in enumerate(terms):
        of_patch = np.where(members, products[0, 1:, number, None], -np.inf).max(axis=0)  # (V P,)
        weights = patches_used(snapshot, vectors[number], content_id)[0]
        heat = over_photo(_scaled(of_patch).reshape(-1, *grid), views)
        found.append(Region(term, boxes_of(weights, grid, views), heat))
    return found


def _scaled(scores: Vector) -> Vector:
    """Scale scores to [0, 1]; those of patches that no local vector has, -inf, become 0."""
    known = np.isfinite(scores)
    scaled = np.zeros_like(scores, dtype=np.float32)
    if known.any():
        least, best = scores[known].min(), scores[known].max()
        scaled[known] = (scores[known] - least) / (best - least) if best > least else 1.0
    return scaled


def over_photo(heat: Vector, views: Sequence[Box]) -> Vector:
    """Lay the patches of views over the photo; where views overlap, the higher value counts.

    Args:
        heat: (V, rows, columns), in [0, 1].
        views: where in the photo each view lies; views beyond them do not count.

    Returns:
        (rows, columns) of the whole photo, in cells of about the size of a patch.
    """
    _, rows, columns = heat.shape
    first = views[0]
    down = _cells(rows, first.bottom - first.top)
    across = _cells(columns, first.right - first.left)
    whole = np.zeros((down, across), np.float32)
    y, x = (np.arange(down) + 0.5) / down, (np.arange(across) + 0.5) / across
    for values, view in zip(heat, views, strict=False):
        row = np.floor((y - view.top) / (view.bottom - view.top) * rows).astype(int)
        column = np.floor((x - view.left) / (view.right - view.left) * columns).astype(int)
        inside = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
        shown = values[np.clip(row, 0, rows - 1)[:, None], np.clip(column, 0, columns - 1)]
        whole = np.where(inside, np.maximum(whole, shown), whole)
    return whole


def _cells(patches: int, share: float) -> int:
    return min(max(math.ceil(patches / share - 1e-6), 1), max(MAX_CELLS, patches))
