"""Time the exact scan for one query against reading the same bytes from memory.

    python benchmarks/search.py                        5,000 and 100,000 photos, about 1 GB of disk
    python benchmarks/search.py --photos 5000 --pooling topk

Photos are simulated: each shows a few of 2,000 concepts, its local vectors are concepts in a scene
with noise, its global vector is their mean with noise. They are stored as segments and searched by
the library's code; every tenth answer is compared with scoring every photo. Times are medians over
the queries. The floor is a sum over as many bytes as the scan reads, in the same run, by one thread
and by as many as the scan uses. "query" is the whole search for k photos.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import simulated
from results import Results, Table, add_json_option, met
from simulated import CONCEPTS, DIM, GRID, TOP_K, M

from mkt_search.scoring import unit
from mkt_search.search.plan import DEFAULT, SearchPolicy
from mkt_search.search.search import search
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import PhotoVectors, Vector

OBJECTS = 6  # a photo
PHOTOS_PER_COMMIT = 1_024
AIM = 2.0  # times the floor
EVERY_PHOTO = replace(DEFAULT, score_all_below_share=1.0)
QUERY_COLUMNS = {
    **{"photos": ",", "MB read": ",.0f", "load s": ".2f", "read ms, 1 thread": ".2f"},
    **{"read ms, all threads": ".2f", "scan ms": ".2f", "query ms": ".2f"},
    **{"query / read, 1 thread": ".2f", "query / read, all threads": ".2f"},
    **{"aim": ".0f", "result": ""},
}


def simulate(n: int, concepts: Vector, pooling: str, rng: np.random.Generator) -> PhotoVectors:
    """Draw n photos of about six concepts each."""
    frequency = 1 / np.arange(1, CONCEPTS + 1)
    shown = rng.choice(CONCEPTS, (n, OBJECTS), p=frequency / frequency.sum())
    scene = unit(rng.standard_normal((n, 1, DIM), np.float32)) * 0.7
    which = rng.integers(0, OBJECTS, (n, M))
    local_vectors = concepts[np.take_along_axis(shown, which, axis=1)] + scene
    local_vectors = unit(
        local_vectors + rng.standard_normal((n, M, DIM), np.float32) * (0.6 / DIM**0.5)
    )
    noise = rng.standard_normal((n, DIM), np.float32) * (0.4 / DIM**0.5)
    global_vectors = unit(unit(local_vectors.mean(axis=1)) + noise)
    patches = GRID[0] * GRID[1]
    members = np.zeros((n, M, patches), np.bool_)
    starts = rng.integers(0, patches - TOP_K, (n, M))
    at = starts[..., None] + np.arange(TOP_K if pooling == "cover" else 1)
    np.put_along_axis(members, at, True, axis=-1)
    global_vectors = (global_vectors / 2).astype(np.float32)
    return PhotoVectors(global_vectors, (local_vectors * 0.9 / 2).astype(np.float32), members)


def fill(store: Store, photos: int, concepts: Vector, pooling: str) -> StoredEncoding:
    """Store simulated photos; return their encoding."""
    rng = np.random.default_rng(0)
    sizes = (
        min(PHOTOS_PER_COMMIT, photos - start) for start in range(0, photos, PHOTOS_PER_COMMIT)
    )
    parts = (simulate(n, concepts, pooling, rng) for n in sizes)
    return simulated.fill(store, simulated.encoding(pooling), parts)


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(photos: int, pooling: str, queries: int, k: int, table: Table) -> None:
    """Add one row to the table."""
    rng = np.random.default_rng(1)
    concepts = unit(rng.standard_normal((CONCEPTS, DIM), np.float32))
    labels = unit(
        concepts[rng.integers(0, CONCEPTS, queries)]
        + rng.standard_normal((queries, DIM), np.float32) * (0.3 / DIM**0.5)
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / ".mkt")
        stored = fill(store, photos, concepts, pooling)
        snapshot = LocalSnapshot.open(store, stored)

        def best(label: Vector, policy: SearchPolicy) -> ContentIds:
            query = WeightedQuery(label[None], np.ones(1, np.float32))
            return search(snapshot, query, k, policy=policy).content_ids

        loading = seconds(lambda: snapshot.scan(labels[0], vectors=1))
        memory = np.ones(photos * M * DIM // 8, np.int64)  # as many bytes as a query reads
        threads = snapshot.facts.scan_threads
        parts = np.array_split(memory, threads)
        workers = ThreadPoolExecutor(threads)
        times, reads, shared, scans = [], [], [], []
        for number, label in enumerate(labels):
            reads.append(seconds(memory.sum))
            shared.append(seconds(lambda: list(workers.map(np.sum, parts))))
            scans.append(seconds(partial(snapshot.scan, label, vectors=1000)))
            start = time.perf_counter()
            found = best(label, DEFAULT)
            times.append(time.perf_counter() - start)
            if number % 10 == 0:
                assert (found == best(label, EVERY_PHOTO)).all(), "the scan missed a photo"
        store.close()
    read, both, scan, query = (
        float(np.median(values)) * 1e3 for values in (reads, shared, scans, times)
    )
    table.row(
        *(photos, memory.nbytes / 1e6, loading, read, both, scan, query),
        *(query / read, query / both, AIM, met(query <= AIM * min(read, both))),
    )


def main() -> None:
    """Read the options, print the table, and save it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, action="append", help="may be given several times")
    parser.add_argument("--pooling", choices=simulated.KINDS, default=simulated.KINDS[0])
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("-k", type=int, default=20)
    add_json_option(parser)
    given = parser.parse_args()
    faiss.omp_set_num_threads(1)
    results = Results(given.json)
    table = results.table("queries", QUERY_COLUMNS)
    for photos in given.photos or [5_000, 100_000]:
        measure(photos, given.pooling, given.queries, given.k, table)
    results.save()


if __name__ == "__main__":
    main()
