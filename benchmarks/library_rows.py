"""The rows of the library itself: the exact scan, the candidates, filters, and what is removed."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice

import faiss
import memory
import numpy as np
from numpy.typing import NDArray
from table import Ids, answers, left_out, recalls, row, timed
from truth import truth

from mkt_search.search.search import Explanation, Found, best
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import PhotoFile, Vector

K = 100
ONE = np.ones(1, np.float32)
REMOVED = 1_000
SHARES = (0.1, 0.01, 0.001)
FILTERED = 20  # labels asked under each filter
CLIENTS = 2
ROUNDS = 3  # of one client and several in turn: other programs may be at work
PAIRS = {"two labels": np.array((1, 1), "f4"), "one but not another": np.array((1, -1), "f4")}
WHOLE = 3  # pairs that every photo is scored for
FROM_DISK = 10  # labels asked after the segments were forgotten
SPARE = 1 << 30  # bytes that are left to others


def ask(
    index: LocalSnapshot,
    label: Vector,
    recall: float,
    *,
    k: int = K,
    allowed: NDArray[np.bool_] | None = None,
    weights: Vector = ONE,
    told: Explanation | None = None,
) -> Found:
    """Search for one label (D,), or for several (T, D) of some weights (T,)."""
    allowed = index.live if allowed is None else allowed
    labels = np.atleast_2d(label)
    return best(index, labels, weights, k, allowed, recall=recall, explanation=told)


class Asked:
    """A search for the k best allowed photos at a recall, which counts the bytes it reads."""

    def __init__(
        self,
        index: LocalSnapshot,
        recall: float,
        k: int = K,
        allowed: NDArray[np.bool_] | None = None,
        weights: Vector = ONE,
    ) -> None:
        self.index, self.recall, self.k, self.allowed = index, recall, k, allowed
        self.weights = weights
        self.read: list[float] = []
        self.path = ""

    def __call__(self, label: Vector) -> Ids:
        """Return the slots of the best for a label (D,), or several (T, D), best first."""
        told = Explanation()
        found = ask(
            self.index,
            label,
            self.recall,
            k=self.k,
            allowed=self.allowed,
            weights=self.weights,
            told=told,
        )
        self.read.append(bytes_read(self.index, told, terms=len(self.weights)))
        self.path = told.path
        return found.slots


def bytes_read(index: LocalSnapshot, told: Explanation, *, terms: int = 1) -> float:
    """Return the bytes of vectors that a search read; of an exact scan, those of the scan alone."""
    if told.path == "exact scan":
        return index.scan.bytes
    segment = index.segments[0]
    photo = (segment.codes.nbytes + segment.steps.nbytes) / len(segment)
    if told.path == "candidates":
        scored = (told.candidates + told.newer) * photo
        if terms > 1:  # whose directions are asked together, in one pass over the codes
            return codes(index) + scored
        few = 2 * told.vectors * segment.codes.shape[2]  # a local vector each, and a global one
        return codes(index) + few + scored
    return told.searched * photo


def codes(index: LocalSnapshot) -> int:
    """Return the bytes of the sketch that a query reads: its codes, without the ids."""
    assert index.sketch is not None
    return index.sketch.nbytes - 8 * int(index.sketch.index.ntotal)


def exact(store: Store, stored: StoredEncoding, labels: Vector, best_: Ids) -> None:
    """Time the exact scan, if it fits in memory; it is let go of afterwards."""
    index = LocalSnapshot.open(store, stored)
    needed = len(index) * index.encoding.m * index.encoding.dim
    if needed + SPARE > memory.available():
        left_out("exact scan", f"needs {needed / 1e9:.1f} GB of memory")
        return
    loading = timed(lambda: index.scan)
    asked = Asked(index, 1.0)
    asked(labels[0])
    found, times = answers(asked, labels)
    what, threads = f"exact scan, {index.scan.threads} threads", index.scan.threads
    note = f"loaded in {loading / 1e3:.1f} s"
    recall, read = recalls(best_, found), float(np.mean(asked.read))
    row(what, times, recall=recall, read=read, threads=threads, note=note)


def candidates(index: LocalSnapshot, labels: Vector, best_: Ids, recall: float) -> None:
    """Time the candidates' way: its first part alone, whole, and asked by two clients."""
    assert index.generation is not None and index.sketch is not None
    wanted = index.generation.curve.vectors_for("one", K, recall)
    if wanted is None:
        left_out("candidates", f"no number of them reaches {recall:g}: the search is exact")
        return
    index.sketch.nearest(labels[:1], wanted)
    scans = [timed(lambda z=label: index.sketch.nearest(z[None], wanted)) for label in labels]  # type: ignore[misc,union-attr]
    row("the sketch alone", scans, read=codes(index), note=f"{wanted:,} vectors")
    asked = Asked(index, recall)
    found, times = answers(asked, labels)
    read = float(np.mean(asked.read))
    what = "**candidates and exact scores**" if asked.path == "candidates" else asked.path
    note = f"{1e3 * len(labels) / sum(times):.1f} queries/s"
    row(what, times, recall=recalls(best_, found), read=read, note=note)
    clients(asked, labels, read=read)
    from_disk(asked, labels[:FROM_DISK], read=read)


def several(index: LocalSnapshot, labels: Vector, recall: float) -> None:
    """Time queries of two labels: both wanted, and the second unwanted; a few by every photo."""
    if len(labels) < 2:
        left_out("two labels", "takes two labels")
        return
    pairs = labels[: 2 * (len(labels) // 2)].reshape(-1, 2, labels.shape[1])
    for what, weights in PAIRS.items():
        columns = np.kron(np.eye(len(pairs), dtype=np.float32), weights[:, None])
        best_ = truth(index, pairs.reshape(-1, labels.shape[1]), K, np.arange(len(index)), columns)
        for wanted, count in ((recall, len(pairs)), (1.0, WHOLE)):
            asked = Asked(index, wanted, weights=weights)
            found, times = answers(asked, pairs[:count])
            read = float(np.mean(asked.read))
            name = f"{what}, {asked.path}"
            row(name, times, recall=recalls(best_[:count], found), read=read)


def clients(asked: Asked, labels: Vector, *, read: float) -> None:
    """Time the labels shared by clients that ask at once, in turns with one client alone."""
    rounds = [[_shared(asked, labels, clients) for clients in (1, CLIENTS)] for _ in range(ROUNDS)]
    times = [each for _, (_, of_round) in rounds for each in of_round]
    gain = float(np.median([alone / together for (alone, _), (together, _) in rounds]))
    took = float(np.median([together for _, (together, _) in rounds]))
    note = f"{1e3 * len(labels) / took:.1f} queries/s, {gain:.2f} times one client's"
    row(f"the same, {CLIENTS} clients", times, read=read, note=note)


def _shared(asked: Asked, labels: Vector, clients: int) -> tuple[float, list[float]]:
    """Return the milliseconds that clients take for all labels, and those of each label."""
    one_each = partial(faiss.omp_set_num_threads, 1)  # a new thread would start with all
    with ThreadPoolExecutor(clients, initializer=one_each) as threads:
        start = time.perf_counter()
        times = list(threads.map(lambda z: timed(lambda: asked(z)), labels))
        return (time.perf_counter() - start) * 1e3, times


def from_disk(asked: Asked, labels: Vector, *, read: float) -> None:
    """Time labels when the segments, but not the candidate index, have gone from memory."""
    if not hasattr(os, "posix_fadvise"):
        left_out("segments on disk", "this system cannot be told to forget files")
        return
    times = []
    for label in labels:
        for segment, file in zip(asked.index.segments, asked.index.files.values(), strict=True):
            segment.let_go()
            with open(asked.index.store.folder / file, "rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        times.append(timed(lambda z=label: asked(z)))  # type: ignore[misc]
    row("the same, segments on disk", times, read=read)


def filters(index: LocalSnapshot, labels: Vector, recall: float) -> None:
    """Time searches for ten photos under filters of several shares."""
    rng, few = np.random.default_rng(3), labels[:FILTERED]
    for part in SHARES:
        allowed = index.live & (rng.random(len(index)) < part)
        best_ = truth(index, few, 10, np.flatnonzero(allowed))
        asked = Asked(index, recall, 10, allowed)
        found, times = answers(asked, few)
        read = float(np.mean(asked.read))
        what = f"filter of {part:.1%}, k = 10"
        row(what, times, recall=recalls(best_, found), read=read, note=asked.path)


def removal(store: Store, index: LocalSnapshot) -> str:
    """Remove photos; return, as a sentence, how long it took until a reader found them no more."""
    gone = [photo.id for photo in islice(store.catalog.photos(), REMOVED)]
    back = PhotoFile(store.directory, "", store.directory, 1, 1)
    try:
        marking = timed(lambda: store.mark_missing(gone))
        seeing = timed(index.renewed)
    finally:
        store.touch([(photo, back) for photo in gone])  # a library that is kept stays whole
    return f"{len(gone):,} photos removed in {marking:.0f} ms, seen by a reader in {seeing:.0f} ms"
