"""A `Snapshot` in plain numpy: every method by the shortest code, nothing cached, nothing on disk.

It shows how little the seam asks for, and tests run searches on it that must give the same hits as
`LocalSnapshot`.
"""

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.interfaces import (
    BoundedCandidates,
    CandidateIndexFacts,
    ContentIds,
    Shortlist,
    Similarities,
    SnapshotFacts,
    StoredVectors,
    WeightedQuery,
)
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.types import Vector


class NumpySnapshot:
    """Vectors (n, 1 + m, D) and members (n, m, P) by content ids (n,) in any order.

    The last `newer` photos are not in its candidate index, which is exact; None: there is none.
    """

    def __init__(
        self,
        stored: StoredEncoding,
        ids: ContentIds,
        vectors: Vector,
        members: NDArray[np.bool_],
        *,
        newer: int | None = None,
        curve: RecallCurve | None = None,
    ) -> None:
        self.facts = SnapshotFacts(stored, revision=1, photos=len(ids))
        self._ids, self._vectors, self._members = ids, vectors, members
        self._newer = ids[len(ids) - (newer or 0) :]
        self.candidate_index = None
        if newer is not None:
            indexed = len(ids) - newer
            self.candidate_index = CandidateIndexFacts(indexed, newer, 5, curve or RecallCurve({}))

    def content_ids(self, among: ContentIds | None = None) -> ContentIds:
        return self._ids if among is None else self._ids[np.isin(self._ids, among)]

    def candidates(
        self, query: WeightedQuery, *, k: int, probes: int, allowed: ContentIds | None = None
    ) -> Shortlist:
        ids = self.content_ids(allowed)
        is_newer = np.isin(ids, self._newer)
        indexed = ids[~is_newer]
        best = (self._fused(indexed) @ query.directions.T).max(axis=1)  # (n, d)
        found = np.argsort(-best, axis=0)[: max(k, probes)]  # (k, d)
        return Shortlist(indexed[np.unique(found)], ids[is_newer])

    def scan(
        self, label: Vector, *, vectors: int, allowed: ContentIds | None = None
    ) -> BoundedCandidates:
        ids = self.content_ids(allowed)
        upper = (self._fused(ids) @ label).max(axis=1, initial=-np.inf)  # (n,)
        order = np.argsort(-upper, kind="stable")
        found, rest = order[:vectors], order[vectors:]
        return BoundedCandidates(ids[found], upper[found], max(upper[rest], default=-np.inf))

    def similarities(self, content_ids: ContentIds, labels: Vector) -> Similarities:
        vectors, counts = self.vectors(content_ids)
        return Similarities(vectors @ labels.T, counts)

    def vectors(self, content_ids: ContentIds) -> StoredVectors:
        rows = self._rows(content_ids)
        return StoredVectors(self._vectors[rows], self._members[rows].sum(axis=2))

    def global_vectors(self, content_ids: ContentIds) -> Vector:
        return self._vectors[self._rows(content_ids), 0]

    def member_patches(self, content_ids: ContentIds) -> NDArray[np.bool_]:
        return self._members[self._rows(content_ids)]

    def checked_contents(self, content_ids: ContentIds) -> NDArray[np.uint8]:
        return np.zeros((len(content_ids), 32), np.uint8)

    def release_pages(self) -> None:
        pass

    def _rows(self, content_ids: ContentIds) -> NDArray[np.int64]:
        return np.array([np.flatnonzero(self._ids == one)[0] for one in content_ids], np.int64)

    def _fused(self, content_ids: ContentIds) -> Vector:
        vectors = self.vectors(content_ids).vectors
        return vectors[:, :1] + vectors[:, 1:]
