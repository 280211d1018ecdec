"""Candidates against the exact scan and against what others do, on simulated photos.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python benchmarks/retrieval.py                      100,000 photos: 1 GB of disk, some minutes
    python benchmarks/retrieval.py --photos 1000000     10 GB of disk, 16 GB of memory

Photos of several objects (`simulated.py`) go through the real store, `optimize` builds the
generation, and labels are searched by the real search. The truth is the proven exact scan: recall
is of the stored form. One thread a query, but for the exact scan, which takes all. Every row is a
median, and a 95th percentile, over the same labels. "floor" is reading as many bytes from memory.
Beside it, on the same data: one global vector a photo in an HNSW graph, as photo tools do, and a
product over float32 global vectors read from SQLite, all of them sorted.
"""

import argparse
import os
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import simulated
from sqlalchemy import select

from mkt_search.search import Found, best
from mkt_search.store import optimize
from mkt_search.store.database import reading
from mkt_search.store.schema import Photo
from mkt_search.store.store import Store
from mkt_search.store.vectors import VectorIndex
from mkt_search.types import Vector

ONE = np.ones(1, np.float32)
REMOVED = 1_000
SHARES = (0.1, 0.01, 0.001)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def answers(ask_: Callable[[Vector], np.ndarray], labels: Vector) -> tuple[list, list[float]]:
    """Return what every label finds, and the milliseconds of each."""
    found: list[np.ndarray] = []
    return found, [timed(lambda z=z: found.append(ask_(z))) for z in labels]  # type: ignore[misc]


def row(what: str, times: list[float], recalls: str = "", note: str = "") -> None:
    """Print one line of the table."""
    p50, p95 = np.percentile(times, [50, 95])
    print(f"| {what} | {p50:.1f} | {p95:.1f} | {recalls} | {note} |", flush=True)


def share(truth: list[Found], found: list[np.ndarray], depth: int) -> float:
    """Return the mean share of the exact `depth` best that were found."""
    parts = [np.isin(t.slots[:depth], f[:depth]).mean() for t, f in zip(truth, found, strict=True)]
    return float(np.mean(parts))


def measure(
    photos: int, base: int, queries: int, local: str, precision: str, recall: float
) -> None:
    """Fill a library, build its generation, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / ".mkt")
        world, encoding = simulated.World.make(), simulated.encoding(local, precision)
        parts = simulated.photos(world, photos, encoding, base=base)
        labels = world.labels(queries, seed=7)
        filling = timed(lambda: simulated.fill(store, encoding, parts))
        stored = store.active
        assert stored is not None
        print(
            f"\n{photos:,} photos ({base:,} with patches of their own), {queries} labels, k = 100"
        )
        with store.writing("benchmark"):
            faiss.omp_set_num_threads(os.cpu_count() or 1)
            building = timed(lambda: optimize.optimize(store, stored))
            faiss.omp_set_num_threads(1)
        segments = sum(file.stat().st_size for file in store.folder.iterdir())
        sketch = sum(file.stat().st_size for file in store.index_folder.iterdir())
        print(f"filled in {filling / 1e3:.0f} s, generation built in {building / 1e3:.0f} s")
        sizes = f"{segments / photos:,.0f} bytes of segment, {sketch / photos:,.0f} of generation"
        print(f"a photo: {sizes}")
        opened: list[VectorIndex] = []
        cold = timed(lambda: opened.append(VectorIndex.open(store, stored)))
        index = opened[0]
        first = timed(lambda: ask(index, labels[0], recall))
        assert index.generation is not None
        curve = index.generation.curve
        print(f"validation: {curve.as_data()}")
        print(f"opened in {cold:.0f} ms, first answer {first:.0f} ms later")
        print("\n| way | p50 ms | p95 ms | recall@10 / @100 | |\n|---|--:|--:|---|---|")
        truth = exact_rows(index, labels)
        approximate_rows(index, labels, truth, recall)
        filter_rows(index, labels, recall)
        peer_rows(index, labels, truth, Path(folder))
        removal(store, index)
        store.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\npeak memory of this program, peers and exact scan included: {peak:.1f} GB")


def ask(index: VectorIndex, label: Vector, recall: float, k: int = 100, allowed=None) -> Found:  # type: ignore[no-untyped-def]
    """Search for one label."""
    return best(
        index, label[None], ONE, k, index.live if allowed is None else allowed, recall=recall
    )


def exact_rows(index: VectorIndex, labels: Vector) -> list[Found]:
    """Time the exact scan and its floor; return its answers."""
    index.scan.candidates(labels[0], vectors=10, live=index.live)
    memory = np.ones(index.scan.bytes // 8, np.int64)
    floor = [timed(memory.sum) for _ in labels[:10]]
    row("floor of the exact scan, one thread", floor, note=f"{memory.nbytes / 1e6:,.0f} MB")
    truth, times = [], []
    for label in labels:
        times.append(timed(lambda z=label: truth.append(ask(index, z, 1.0))))  # type: ignore[misc]
    row(f"exact scan, {index.scan.threads} threads", times, "1 / 1")
    return truth


def approximate_rows(index: VectorIndex, labels: Vector, truth: list[Found], recall: float) -> None:
    """Time the candidates' way, alone, part by part, and from two threads."""
    assert index.sketch is not None
    memory = np.ones(index.sketch.bytes // 8, np.int64)
    floor = [timed(memory.sum) for _ in labels[:10]]
    row("floor of the sketch, one thread", floor, note=f"{memory.nbytes / 1e6:,.0f} MB of RAM")
    wanted = index.generation.curve.photos_for(100, recall) if index.generation else None
    if wanted is None:
        print("no number of candidates reaches the recall; the search is exact")
        return
    scans = [timed(lambda z=label: index.sketch.candidates(z, wanted)) for label in labels]  # type: ignore[misc,union-attr]
    row("candidates alone", scans, note=f"{wanted:,} photos")
    found, times = answers(lambda z: ask(index, z, recall).slots, labels)
    recalls = " / ".join(f"{share(truth, found, depth):.4f}" for depth in (10, 100))
    row("**candidates and exact scores**", times, recalls)
    with ThreadPoolExecutor(2) as clients:
        both = list(clients.map(lambda z: timed(lambda: ask(index, z, recall)), labels))
    row("the same, two clients", both)


def filtered(index: VectorIndex, recall: float, allowed: np.ndarray, label: Vector) -> np.ndarray:
    """Return the slots of the ten best of the allowed photos."""
    return ask(index, label, recall, 10, allowed).slots


def filter_rows(index: VectorIndex, labels: Vector, recall: float) -> None:
    """Time the candidates' way under filters of several shares."""
    rng = np.random.default_rng(3)
    for part in SHARES:
        allowed = index.live & (rng.random(len(index)) < part)
        few = labels[:20]
        truth = [ask(index, z, 1.0, 10, allowed) for z in few]
        found, times = answers(partial(filtered, index, recall, allowed), few)
        row(f"filter of {part:.1%}, k = 10", times, f"{share(truth, found, 10):.4f} / ")


def peer_rows(index: VectorIndex, labels: Vector, truth: list[Found], folder: Path) -> None:
    """Time one global vector a photo: in an HNSW graph, and as float32 blobs of SQLite."""
    slots = np.arange(len(index))
    global_ = np.concatenate([index.read(part)[:, 0] for part in index.blocks(slots)])
    graph = faiss.IndexHNSWFlat(global_.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    building = timed(lambda: graph.add(global_))
    faiss.omp_set_num_threads(1)
    graph.hnsw.efSearch = 200
    found, times = answers(lambda z: graph.search(z[None], 100)[1][0], labels)
    recalls = " / ".join(f"{share(truth, found, depth):.4f}" for depth in (10, 100))
    row("global vectors, HNSW", times, recalls, f"built in {building / 1e3:.0f} s")
    with sqlite3.connect(folder / "peer.db") as database:
        database.execute("CREATE TABLE photo (id INTEGER PRIMARY KEY, vector BLOB)")
        rows = ((i, vector.tobytes()) for i, vector in enumerate(global_))
        database.executemany("INSERT INTO photo VALUES (?, ?)", rows)
        database.commit()
        found, times = answers(partial(brute, database), labels[:5])
    recalls = " / ".join(f"{share(truth[:5], found, depth):.4f}" for depth in (10, 100))
    row("global vectors, SQLite blobs and numpy", times, recalls)


def brute(database: sqlite3.Connection, label: Vector) -> np.ndarray:
    """Read every vector, score it and sort all: what a small tool does for every query."""
    rows = database.execute("SELECT id, vector FROM photo").fetchall()
    matrix = np.frombuffer(b"".join(vector for _, vector in rows), np.float32)
    scores = matrix.reshape(len(rows), -1) @ label
    order = sorted(range(len(rows)), key=lambda i: -scores[i])
    return np.array(order[:100])


def removal(store: Store, index: VectorIndex) -> None:
    """Time what it takes until removed photos are found no more."""
    with reading(store.engine) as session:
        gone = list(session.scalars(select(Photo.id).limit(REMOVED)))
    marking = timed(lambda: store.mark_missing(gone))
    seeing = timed(index.renewed)
    print(f"\n{REMOVED:,} photos removed in {marking:.0f} ms, seen by a reader in {seeing:.0f} ms")


def main() -> None:
    """Read the options and print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, action="append", help="may be given several times")
    parser.add_argument("--base", type=int, default=simulated.BASE)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--local", choices=simulated.KINDS, default=simulated.KINDS[0])
    parser.add_argument("--precision", choices=["int8", "int4"], default="int8")
    parser.add_argument("--recall", type=float, default=0.99)
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    stored = given.local, given.precision
    for photos in given.photos or [100_000]:
        measure(photos, min(given.base, photos), given.queries, *stored, given.recall)


if __name__ == "__main__":
    main()
