"""Build a generation beside the live one: sketch every photo, measure its recall, switch to it.

The file is whole on disk before one transaction names it in the place of the old one; a kill at any
moment leaves the old generation live and at most files that nobody names, which the next
writer removes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import score_similarities
from mkt_search.store import changes, generations
from mkt_search.store.ann import Ids, Sketch
from mkt_search.store.database import transaction
from mkt_search.store.generations import Curve, Form, Generation, Points
from mkt_search.store.probes import draw, share_found
from mkt_search.store.scan import fuse
from mkt_search.store.segments import write_named
from mkt_search.store.shortlist import WeightedSum, shortlist
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.store.vectors import VectorIndex
from mkt_search.types import Vector

LEAST = 256  # photos; fewer are not enough to learn codebooks from
SAMPLE = 16_384  # vectors that codebooks are learned from; FAISS takes no more of them
QUERIES = 128  # that recall is measured on: remembered labels, or queries mixed of stored vectors
PAIRS = 64  # of these labels: for several terms, and again for terms of which one is unwanted
DEPTHS = (10, 100)
VECTORS = (
    100,
    200,
    400,
    800,
    1_600,
    2_400,
    3_200,
    4_800,
    6_400,
    8_000,
    9_600,
    12_800,
    25_600,
    51_200,
)
ENOUGH = 0.999  # a recall above which more vectors are not tried

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
    index = VectorIndex.open(store, stored, by_rows=True)
    slots = np.flatnonzero(index.live)
    if len(slots) < LEAST:
        return None
    rng = np.random.default_rng(0)
    photos = max(LEAST, SAMPLE // max(index.encoding.m, 1))
    sample = np.sort(rng.permutation(slots)[:photos])
    fused, is_real = _fused(index, sample)
    sketch = Sketch.train(fused[is_real], fused.shape[1])
    for done, part in _counted(index, slots):
        fused, is_real = _fused(index, part)
        sketch.add(fused, index.contents[part], is_real)
        told("sketching photos", done, len(slots))
    nothing = np.empty((0, index.encoding.dim), np.float32)
    labels = draw(store, index, rng, count=QUERIES, given=nothing).vectors
    curve = _validate(index, sketch, slots, labels, told)
    with store.writing_files():
        built = _write(store, index, sketch, curve)
    with transaction(store.engine) as session:
        gone = generations.switch(session, stored.id, built)
        changes.forget(session, built.revision)
        changes.bump(session, ())
    store.remove_generations(gone)
    return Optimized(built.photos, built.sketch.size + built.places.size, curve)


def _write(store: Store, index: VectorIndex, sketch: Sketch, curve: Curve) -> Generation:
    store.index_folder.mkdir(exist_ok=True)
    write = partial(
        write_named,
        store.index_folder,
        prefix=f"{index.stored.id}-",
        digest_of=generations.digest_of,
    )
    places = index.places().astype("<i8")
    return Generation(
        sketch=write(sketch.dump().data, suffix=generations.SKETCH),
        places=write(places.tobytes(), suffix=generations.PLACES),
        photos=len(places),
        revision=index.revision,
        curve=curve,
    )


def _fused(index: VectorIndex, slots: Ids) -> tuple[Vector, NDArray[np.bool_]]:
    """Return the fused vectors of photos (n, m, D), and which are no padding (n, m)."""
    fused = fuse(index.read(slots))
    is_real = np.zeros(fused.shape[:2], np.bool_)
    is_real[:, 0] = True  # the first at least, for a photo without local vectors
    counts = index.counts(slots)
    is_real[:, : counts.shape[1]] |= counts > 0
    return fused, is_real


def _counted(index: VectorIndex, slots: Ids) -> Iterator[tuple[int, Ids]]:
    done = 0
    for part in index.blocks(slots):
        done += len(part)
        yield done, part


def _validate(index: VectorIndex, sketch: Sketch, slots: Ids, labels: Vector, told: Told) -> Curve:
    """Measure what share of the exact best photos is on the shortlist of how many vectors.

    Kept is the mean over the queries less one standard error: other labels will be asked.
    """
    queries, weights = _queries(labels)
    most = min(DEPTHS[-1], len(slots))
    best = np.empty((0, len(queries)), np.int64)
    scores = np.empty((0, len(queries)), np.float32)
    for done, part in _counted(index, slots):
        similarities = index.similarities(part, labels)
        fused = score_similarities(similarities, index.counts(part), k=index.encoding.top_k).fused
        found = fused @ weights  # (n, q): the score of several terms is a sum over them
        best = np.concatenate([best, np.broadcast_to(part[:, None], found.shape)])
        scores = np.concatenate([scores, found])
        order = np.argsort(-scores, axis=0, kind="stable")[:most]
        best = np.take_along_axis(best, order, axis=0)
        scores = np.take_along_axis(scores, order, axis=0)
        told("measuring recall", done, len(slots))
    forms = np.array([query.form for query in queries])
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        recall: dict[Form, dict[int, Points]] = {}
        for form in get_args(Form):
            mine = np.flatnonzero(forms == form)
            asked = [queries[number] for number in mine]
            recall[form] = {
                depth: tuple(_points(index, sketch, asked, best[:depth, mine].T, workers))
                for depth in DEPTHS
            }
        return Curve(recall)


def _queries(labels: Vector) -> tuple[list[WeightedSum], Vector]:
    """Return what recall is measured on, and the weights (L, q) of the labels (L, D) in each.

    Each label by itself, and pairs of labels: both wanted, and the second unwanted.
    """
    pairs = np.arange(min(PAIRS, len(labels) // 2))
    both = np.zeros((len(labels), len(pairs)), np.float32)
    both[2 * pairs, pairs] = both[2 * pairs + 1, pairs] = 1
    without = both.copy()
    without[2 * pairs + 1, pairs] = -1
    weights = np.concatenate([np.eye(len(labels), dtype=np.float32), both, without], axis=1)
    return [WeightedSum(labels[column != 0], column[column != 0]) for column in weights.T], weights


def _points(
    index: VectorIndex, sketch: Sketch, queries: Sequence[WeightedSum], best: Ids, workers: Executor
) -> Iterator[tuple[int, float]]:
    """Yield numbers of vectors, and what share of the best (q, depth) each finds."""
    depth = best.shape[1]
    for vectors in (v for v in VECTORS if depth <= v < sketch.index.ntotal):
        find = partial(shortlist, index, sketch, k=depth, vectors=vectors)
        found = workers.map(find, queries)
        shares = [share_found(b, f) for b, f in zip(best, found, strict=True)]
        recall = float(np.mean(shares) - np.std(shares) / len(shares) ** 0.5)
        yield vectors, recall
        if recall >= ENOUGH:
            return
