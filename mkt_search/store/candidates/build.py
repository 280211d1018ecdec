"""Build a generation beside the live one: sketch every photo, measure its recall, switch to it.

The file is whole on disk before one transaction names it in the place of the old one; a kill at any
moment leaves the old generation live and at most files that nobody names, which the next
writer removes.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.ann.pq_index import Ids, PQIndex
from mkt_search.store.candidates.calibration_queries import draw
from mkt_search.store.candidates.validation import measured
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.segments.files import packed, write_named
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import changes
from mkt_search.store.sql.candidate_index import CandidateIndex
from mkt_search.store.sql.database import transaction
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import Vector

LEAST = 256  # photos; fewer are not enough to learn codebooks from
SAMPLE = 16_384  # vectors that codebooks are learned from; FAISS takes no more of them
QUERIES = 128  # that recall is measured on: remembered labels, or queries mixed of stored vectors


@dataclass(frozen=True)
class Optimized:
    """What was built: photos in the sketch, bytes on disk, and what validation measured."""

    photos: int
    bytes: int
    curve: RecallCurve


def optimize(
    store: Store, stored: StoredEncoding, *, progress: ProgressCallback = no_progress
) -> Optimized | None:
    """Build and switch to a generation of all live photos; None when they are too few for one.

    Only the writer may call it.

    Raises:
        LibraryDamaged: a segment cannot be read.
        StoreError: the disk is full or cannot be written; the old generation stays.
    """
    index = LocalSnapshot.open(store, stored, by_rows=True)
    slots = np.flatnonzero(index.live)
    if len(slots) < LEAST:
        return None
    rng = np.random.default_rng(0)
    photos = max(LEAST, SAMPLE // max(index.encoding.m, 1))
    sample = np.sort(rng.permutation(slots)[:photos])
    fused, is_real = _fused(index, sample)
    sketch = PQIndex.train(fused[is_real], fused.shape[1])
    done = 0
    for part in index.blocks(slots):
        fused, is_real = _fused(index, part)
        sketch.add(fused, index.contents[part], is_real)
        done += len(part)
        progress(Progress("sketching photos", done, len(slots)))
    nothing = np.empty((0, index.encoding.dim), np.float32)
    labels = draw(store, index, rng, count=QUERIES, given=nothing).vectors
    curve = measured(index, sketch, slots, labels, progress)
    with store.writing_files():
        built = _write(store, index, sketch, curve)
    with transaction(store.engine) as session:
        gone = generations.switch(session, stored.id, built)
        changes.forget(session, built.revision)
        changes.bump(session, ())
    store.remove_generations(gone)
    return Optimized(built.photos, built.sketch.size + built.places.size, curve)


def _write(
    store: Store, index: LocalSnapshot, sketch: PQIndex, curve: RecallCurve
) -> CandidateIndex:
    store.index_folder.mkdir(exist_ok=True)
    write = partial(
        write_named,
        store.index_folder,
        prefix=f"{index.stored.id}-",
        digest_of=generations.digest_of,
    )
    places = index.places()
    return CandidateIndex(
        sketch=write(packed(sketch.arrays()), suffix=generations.SKETCH),
        places=write(generations.places_as_bytes(places), suffix=generations.PLACES),
        photos=len(places),
        revision=index.revision,
        curve=curve,
    )


def _fused(index: LocalSnapshot, slots: Ids) -> tuple[Vector, NDArray[np.bool_]]:
    """Return the fused vectors of photos (n, m, D), and which are no padding (n, m)."""
    fused = fuse(index.read(slots))
    is_real = np.zeros(fused.shape[:2], np.bool_)
    is_real[:, 0] = True  # the first at least, for a photo without local vectors
    counts = index.counts(slots)
    is_real[:, : counts.shape[1]] |= counts > 0
    return fused, is_real
