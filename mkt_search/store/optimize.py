"""Build a generation beside the live one: sketch every photo, measure its recall, switch to it.

The file is whole on disk before one transaction names it in the place of the old one; a kill at any
moment leaves the old generation live and at most a file that nobody names, which the next writer
removes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from mkt_search.scoring import score_similarities
from mkt_search.store import changes, generations
from mkt_search.store.ann import Ids, Sketch
from mkt_search.store.database import transaction
from mkt_search.store.generations import Built, Curve
from mkt_search.store.probes import mixed, remembered, share_found
from mkt_search.store.scan import fuse
from mkt_search.store.segments import write_named
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.store.vectors import VectorIndex
from mkt_search.types import Vector

LEAST = 256  # photos; fewer are not enough to learn codebooks from
SAMPLE = 4_096  # photos that codebooks are learned from
LABELS = 32  # remembered labels that recall is measured on
PHOTOS = 32  # and queries mixed of stored vectors, for a library nobody has searched yet
DEPTHS = (10, 100)
CANDIDATES = (100, 200, 300, 400, 600, 800, 1_200, 1_600, 2_400, 3_200, 6_400, 12_800)

Told = Callable[[str, int, int], None]
"""What is going on, how many photos are done, and of how many."""


@dataclass(frozen=True)
class Optimized:
    """What was built: photos in the sketch, bytes on disk, and what validation measured."""

    photos: int
    bytes: int
    curve: Curve


def silent(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""


def optimize(store: Store, stored: StoredEncoding, *, told: Told = silent) -> Optimized | None:
    """Build and switch to a generation of all live photos; None when they are too few for one.

    Only the writer may call it.

    Raises:
        LibraryDamaged: a segment cannot be read.
        StoreError: the disk is full or cannot be written; the old generation stays.
    """
    index = VectorIndex.open(store, stored)
    slots = np.flatnonzero(index.live)
    if len(slots) < LEAST:
        return None
    rng = np.random.default_rng(0)
    sample = np.sort(rng.permutation(slots)[:SAMPLE])
    sketch = Sketch.train(_flat(fuse(index.read(sample))))
    for done, part in _counted(index, slots):
        sketch.add(fuse(index.read(part)), index.contents[part])
        told("sketching photos", done, len(slots))
    labels = remembered(store, index.encoding.dim, rng, most=LABELS)
    queries = np.concatenate([labels, mixed(index, slots, rng, count=PHOTOS)])
    curve = _validate(index, sketch, slots, queries, told)
    with store.writing_files():
        built = _write(store, index, sketch, curve)
    with transaction(store.engine) as session:
        gone = generations.switch(session, stored.id, built)
        changes.forget(session, built.revision)
        changes.bump(session, ())
    store.remove_generations(gone)
    return Optimized(built.photos, built.sketch.size + built.places.size, curve)


def _write(store: Store, index: VectorIndex, sketch: Sketch, curve: Curve) -> Built:
    store.index_folder.mkdir(exist_ok=True)
    write = partial(
        write_named,
        store.index_folder,
        prefix=f"{index.stored.id}-",
        digest_of=generations.digest_of,
    )
    places = index.places().astype("<i8")
    return Built(
        sketch=write(sketch.dump().data, suffix=generations.SKETCH),
        places=write(places.tobytes(), suffix=generations.PLACES),
        photos=len(places),
        revision=index.revision,
        curve=curve,
    )


def _flat(fused: Vector) -> Vector:
    return fused.reshape(-1, fused.shape[-1])


def _counted(index: VectorIndex, slots: Ids) -> Iterator[tuple[int, Ids]]:
    done = 0
    for part in index.blocks(slots):
        done += len(part)
        yield done, part


def _validate(index: VectorIndex, sketch: Sketch, slots: Ids, queries: Vector, told: Told) -> Curve:
    """Measure how many of the exact best photos are among how many candidates."""
    most = min(DEPTHS[-1], len(slots))
    contents, scores = np.empty((0, len(queries)), np.int64), np.empty((0, len(queries)), "f4")
    for done, part in _counted(index, slots):
        similarities = index.similarities(part, queries)
        fused = score_similarities(similarities, index.counts(part), k=index.encoding.top_k).fused
        ids = np.broadcast_to(index.contents[part][:, None], fused.shape)
        contents, scores = np.concatenate([contents, ids]), np.concatenate([scores, fused])
        best = np.argsort(-scores, axis=0, kind="stable")[:most]
        contents, scores = (np.take_along_axis(a, best, axis=0) for a in (contents, scores))
        told("measuring recall", done, len(slots))
    counts = [count for count in CANDIDATES if count < len(slots)]
    found = {count: [sketch.candidates(query, count) for query in queries] for count in counts}
    return Curve(
        {
            depth: tuple(
                (count, _recall(contents[:depth].T, found[count]))
                for count in counts
                if count >= depth
            )
            for depth in DEPTHS
        }
    )


def _recall(best: Ids, found: list[Ids]) -> float:
    """Return the mean share of the best (q, depth) among what each query found."""
    return float(np.mean([share_found(b, f) for b, f in zip(best, found, strict=True)]))
