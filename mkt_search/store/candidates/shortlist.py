"""The shortlist: which photos of a candidate index are worth scoring exactly for a query.

The index returns the vectors that look best by their codes. For one label the exact products of
these few vectors g + l are computed, and the photos with the best of them form the shortlist: a
photo's score is its best product where one local vector stands for the k best patches, and a
weighted mean of a few products elsewhere.

The score of several labels is a sum over them, each with a best vector of its own. A photo that is
near the top of the sum is mostly near the top for a wanted label, or one of its vectors is near the
sum of all labels (how often is measured when the index is built). So the index is probed for each
wanted label and for the weighted sum, and every photo found is on the shortlist.

Searches and the measurement of their recall both call `shortlist`; they differ in the probe.
"""

from collections.abc import Callable

import numpy as np

from mkt_search.store.ann.pq_index import OwnedVectors, Probe
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.types import Vector

SHORTLIST_PER_K = 5  # photos per photo wanted; twice as many cost more than the probes they save

FusedProducts = Callable[[OwnedVectors], Vector]
"""Returns (v,): the exact inner products of single vectors g + l with the query's first label."""


def shortlist(
    query: WeightedQuery,
    probe: Probe,
    products: FusedProducts,
    *,
    k: int,
    probes: int,
    total: int,
) -> ContentIds:
    """Return the photos to score, rising; for one label up to `SHORTLIST_PER_K` times k.

    Args:
        query: a query that is mostly wanted.
        probe: finds the best vectors for each direction of the query.
        products: computes exact products for a query of one label.
        k: photos wanted in the end.
        probes: vectors to probe for in each direction; more if these have fewer than k owners.
        total: vectors in the index.
    """
    found = oversample(probe, probes, owners=k, total=total)
    if query.terms > 1:
        return np.unique(np.concatenate([vectors.content_ids for vectors in found]))
    [vectors] = found
    first = np.flatnonzero(vectors.is_first)  # (photos,)
    content_ids, size = vectors.content_ids[first], SHORTLIST_PER_K * k
    if len(content_ids) <= size:
        return content_ids
    best = np.maximum.reduceat(products(vectors), first)  # (photos,), each photo's best product
    return np.sort(content_ids[np.argpartition(-best, size)[:size]])


def oversample(probe: Probe, probes: int, *, owners: int, total: int) -> list[OwnedVectors]:
    """Probe for twice as many vectors each time, until every direction has enough owners.

    Args:
        probe: finds the best vectors.
        probes: vectors to probe for at first.
        owners: photos wanted for each direction.
        total: vectors in the index.
    """
    while True:
        found = probe(min(probes, total))
        found_all = probes >= total or len(found[0].ranks) < probes  # a filter leaves no more
        if found_all or min(vectors.owners for vectors in found) >= owners:
            return found
        probes *= 2
