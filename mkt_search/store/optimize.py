"""Build a candidate index beside the live one and switch to it.

Its files are whole on disk before one transaction names them in the place of the old ones. A kill
at any time leaves the old index live, and at most files that nothing names, which the next writer
removes.
"""

from dataclasses import dataclass
from functools import partial

from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.store.candidates.build import BuiltIndex, build_index
from mkt_search.store.candidates.policy import DEFAULT, BuildPolicy
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.segments.files import packed, write_named
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import changes, runs
from mkt_search.store.sql.candidate_index import CandidateIndex
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.store import Store, StoredEncoding


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
        remembered=remembered_label_vectors(store),
        policy=policy,
        progress=progress,
    )
    with store.writing_files():
        written = _write(store, snapshot, built)
    with transaction(store.engine) as session:
        replaced = generations.switch(session, stored.id, written)
        changes.forget(session, written.revision)
        changes.bump(session, ())
    store.remove_generations(replaced)
    return Optimized(written.photos, written.sketch.size + written.places.size, built.curve)


def remembered_label_vectors(store: Store) -> list[bytes]:
    """Return the float32 bytes of all label vectors that were searched for before."""
    with reading(store.engine) as session:
        return runs.remembered_vectors(session)


def _write(store: Store, snapshot: LocalSnapshot, built: BuiltIndex) -> CandidateIndex:
    store.index_folder.mkdir(exist_ok=True)
    write = partial(
        write_named,
        store.index_folder,
        prefix=f"{snapshot.stored.id}-",
        digest_of=generations.digest_of,
    )
    rows = snapshot.vector_rows()
    return CandidateIndex(
        sketch=write(packed(built.pq_index.arrays()), suffix=generations.SKETCH),
        places=write(generations.places_as_bytes(rows), suffix=generations.PLACES),
        photos=len(rows),
        revision=snapshot.facts.revision,
        curve=built.curve,
    )
