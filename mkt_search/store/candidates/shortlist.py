"""The shortlist: which photos of a sketch are worth scoring exactly for a query.

The sketch gives vectors that look best by their codes. For one label the products of these few are
computed from what is stored, g + l of each by itself, and the photos with the best of them are the
shortlist: a photo's score is its best product where one local vector holds the k best patches, and
a weighted mean of a few elsewhere.

The score of several terms is a sum over them, each with a best vector of its own. A photo that is
far up in the sum is mostly far up for a wanted term, or one of its vectors is for all terms
together (how often is measured when the sketch is made). So the sketch is asked for each wanted
label and for the weighted sum of all, and the photos of what it gives are the shortlist.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from mkt_search.store.ann.pq_index import Ids, PQIndex
from mkt_search.store.recall_curve import QueryKind
from mkt_search.store.snapshot import LocalSnapshot, Slots
from mkt_search.types import Vector

SCORED = 5  # photos for one wanted: twice as many cost more than the vectors they save


class WeightedSum(NamedTuple):
    """Label vectors (T, D) and weights (T,): photos are scored by the weighted sum over the terms.

    A negative weight is of an unwanted label.
    """

    labels: Vector
    weights: Vector

    @property
    def terms(self) -> int:
        """How many there are."""
        return len(self.weights)

    @property
    def form(self) -> QueryKind:
        """What its recall was measured by."""
        if self.terms == 1:
            return "one"
        return "unwanted" if (self.weights < 0).any() else "several"

    @property
    def has_shortlist(self) -> bool:
        """Whether vectors near its labels tell its photos: not where most of it is unwanted."""
        return bool((self.weights > 0).any() and self.weights.sum() >= 0)

    @property
    def directions(self) -> Vector:
        """What the sketch is asked for (d, D): the label, or each wanted one and the sum of all."""
        if self.terms == 1:
            return self.labels
        total = self.weights @ self.labels
        return np.concatenate([self.labels[self.weights > 0], total[None]])


def shortlist(
    index: LocalSnapshot,
    sketch: PQIndex,
    query: WeightedSum,
    *,
    k: int,
    vectors: int,
    allowed: Ids | None = None,
) -> Slots:
    """Return the slots of the photos to score for a query; up to `SCORED` k for one label.

    Args:
        index: the vectors; the sketch is of some of its photos.
        sketch: what finds them.
        query: one that has a shortlist.
        k: photos wanted in the end.
        vectors: how many are asked of the sketch for each direction; more where these belong to
            fewer than k photos.
        allowed: none but these contents, which the index must have; None allows all.
    """
    found = sketch.nearest(query.directions, vectors, owners=k, allowed=allowed)
    products = partial(products_of, index, *found[0], query.labels[0])
    return index.slots_of_contents(chosen(query, [of for of, _ in found], products, k=k))


def chosen(
    query: WeightedSum, owners: Sequence[Ids], products: Callable[[], Vector], *, k: int
) -> Ids:
    """Return the contents on the shortlist.

    Args:
        query: what is searched for.
        owners: of the vectors that the sketch gave for each direction, (v,) each, rising.
        products: gives those of the first direction's vectors (v,), for one label.
        k: photos wanted in the end.
    """
    if query.terms > 1:
        return np.unique(np.concatenate(owners))
    first = np.flatnonzero(np.diff(owners[0], prepend=-1))
    contents = owners[0][first]
    if len(contents) <= SCORED * k:
        return contents
    best = np.maximum.reduceat(products(), first)
    return contents[np.argpartition(-best, SCORED * k)[: SCORED * k]]


def products_of(index: LocalSnapshot, contents: Ids, which: Ids, label: Vector) -> Vector:
    """Return the inner products of single vectors with a label (D,), from what is stored: (v,).

    `contents` (v,), rising, own them; the index must have each.
    """
    is_first = np.diff(contents, prepend=-1) != 0
    photos = index.slots_of_contents(contents[is_first])
    slots = photos[np.cumsum(is_first) - 1]
    order = np.argsort(slots, kind="stable")  # as they lie on disk
    products = np.empty(len(slots), np.float32)
    products[order] = index.fused_products(slots[order], which[order], label)
    return products
