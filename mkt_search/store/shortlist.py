"""The shortlist: which photos of a sketch are worth scoring exactly for a label.

The sketch gives vectors that look best by their codes. Of these few the products are computed from
what is stored, g + l of each by itself, and the photos with the best of them are the shortlist: a
photo's score is its best product where one local vector holds the k best patches, and a weighted
mean of a few elsewhere.
"""

import numpy as np

from mkt_search.store.ann import Ids, Sketch
from mkt_search.store.vectors import Slots, VectorIndex
from mkt_search.types import Vector

SCORED = 5  # photos for one wanted: twice as many cost more than the vectors they save


def shortlist(
    index: VectorIndex,
    sketch: Sketch,
    label: Vector,
    *,
    k: int,
    vectors: int,
    allowed: Ids | None = None,
) -> Slots:
    """Return the slots of up to `SCORED` k photos for a label, in no order.

    Args:
        index: the vectors; the sketch is of some of its photos.
        sketch: what finds them.
        label: a vector (D,).
        k: photos wanted in the end.
        vectors: how many are asked of the sketch; more where these belong to fewer than k photos.
        allowed: none but these contents, which the index must have; None allows all.
    """
    contents, which = sketch.nearest(label, vectors, owners=k, allowed=allowed)
    is_first = np.diff(contents, prepend=-1) != 0
    photos = index.slots_of_contents(contents[is_first])
    if len(photos) <= SCORED * k:
        return photos
    owner = np.cumsum(is_first) - 1
    order = np.argsort(photos[owner], kind="stable")  # as they lie on disk
    products = np.empty(len(owner), np.float32)
    products[order] = index.fused_products(photos[owner][order], which[order], label)
    best = np.maximum.reduceat(products, np.flatnonzero(is_first))
    most = np.argpartition(-best, SCORED * k)[: SCORED * k]
    found: Slots = photos[most]
    return found
