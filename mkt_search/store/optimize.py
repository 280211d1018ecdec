"""Build a candidate index beside the live one and switch to it.

Its files are whole on disk before one transaction names them in the place of the old ones. A kill
at any time leaves the old index live, and at most files that nothing names, which the next writer
removes.
"""

from dataclasses import dataclass

from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.store.ann.index_files import write_index
from mkt_search.store.candidates.build import BuiltIndex, build_index
from mkt_search.store.candidates.policy import DEFAULT, BuildPolicy
from mkt_search.store.disk import disk_errors
from mkt_search.store.manifest import CandidateIndex, StoredEncoding
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store


@dataclass(frozen=True)
class Optimized:
    """What was built: photos in the index, bytes on disk, and the measured recall."""

    photos: int
    bytes: int
    curve: RecallCurve


def optimize(
    store: Store,
    stored: StoredEncoding,
    *,
    policy: BuildPolicy = DEFAULT,
    progress: ProgressCallback = no_progress,
) -> Optimized | None:
    """Build a candidate index of all live photos and switch to it; None if they are too few.

    Only the writer may call it.

    Raises:
        LibraryDamaged: a segment cannot be read.
        StoreError: the disk is full or cannot be written; the old index stays.
    """
    snapshot = LocalSnapshot.open(store, stored, by_rows=True)
    if snapshot.facts.photos < policy.min_photos:
        return None
    built = build_index(
        snapshot,
        remembered=store.catalog.all_label_vectors(),
        policy=policy,
        progress=progress,
    )
    index = _write(store, snapshot, built)
    store.delete_files(store.vectors.set_candidate_index(stored.id, index))
    return Optimized(index.photos, index.size, built.curve)


def _write(store: Store, snapshot: LocalSnapshot, built: BuiltIndex) -> CandidateIndex:
    vector_rows = snapshot.vector_rows()
    with disk_errors(store.directory):
        store.index_folder.mkdir(exist_ok=True)
        pq, row_map = write_index(
            store.index_folder, built.pq_index, vector_rows, prefix=f"{snapshot.stored.id}-"
        )
    return CandidateIndex(
        pq=pq,
        row_map=row_map,
        photos=len(vector_rows),
        revision=snapshot.facts.revision,
        recall=built.curve,
    )
