"""Build a candidate index of a snapshot and measure its recall."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mkt_search.progress import Progress, ProgressCallback
from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.ann.pq_index import OwnedVectors, PQIndex
from mkt_search.store.candidates.calibration_queries import draw
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.candidates.validation import measure_recall
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.types import Vector

PHOTOS_PER_READ = 256


class IndexableSnapshot(Snapshot, Protocol):
    """A snapshot that can also compute products of single vectors."""

    def fused_products(self, vectors: OwnedVectors, label: Vector) -> Vector:
        """Return (v,): the inner products of single vectors g + l with a label (D,)."""


class BuiltIndex(NamedTuple):
    """A candidate index and its measured recall."""

    pq_index: PQIndex
    curve: RecallCurve


def build_index(
    snapshot: IndexableSnapshot,
    *,
    remembered: list[bytes],
    policy: BuildPolicy,
    progress: ProgressCallback,
) -> BuiltIndex:
    """Index every live photo of a snapshot and measure the recall.

    Args:
        snapshot: at least `policy.min_photos` photos.
        remembered: float32 bytes of label vectors that were searched for before; recall is
            measured on them and on mixtures of stored vectors.
        policy: sizes.
        progress: called as work advances.
    """
    rng = np.random.default_rng(0)
    content_ids = snapshot.content_ids()
    index = _trained(snapshot, content_ids, rng, policy)
    for first in range(0, len(content_ids), PHOTOS_PER_READ):
        part = content_ids[first : first + PHOTOS_PER_READ]
        fused, is_real = _fused(snapshot, part)
        index.add(fused, part, is_real)
        progress(Progress("indexing vectors", first + len(part), len(content_ids)))
    queries = draw(snapshot, rng, count=policy.calibration_labels, remembered=remembered)
    curve = measure_recall(
        snapshot, index, snapshot.fused_products, queries.vectors, policy, progress
    )
    return BuiltIndex(index, curve)


def _trained(
    snapshot: Snapshot, content_ids: ContentIds, rng: np.random.Generator, policy: BuildPolicy
) -> PQIndex:
    """Return an empty index whose codebooks were learned from some of the photos."""
    m = max(snapshot.facts.encoding.m, 1)
    photos = max(policy.min_photos, policy.training_vectors // m)
    sample = rng.permutation(len(content_ids))[:photos]
    fused, is_real = _fused(snapshot, content_ids[np.sort(sample)])
    return PQIndex.train(fused[is_real], fused.shape[1])


def _fused(snapshot: Snapshot, content_ids: ContentIds) -> tuple[Vector, NDArray[np.bool_]]:
    """Return the fused vectors of photos (n, m, D), and which are not padding (n, m)."""
    vectors, counts = snapshot.vectors(content_ids)
    fused = fuse(vectors)
    is_real = np.zeros(fused.shape[:2], np.bool_)
    is_real[:, 0] = True  # a photo without local vectors is indexed under g
    is_real[:, : counts.shape[1]] |= counts > 0
    return fused, is_real
