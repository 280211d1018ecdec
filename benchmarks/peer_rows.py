"""Other ways to search the same photos: an HNSW graph of global vectors, and SQLite with NumPy.

Photo tools with an index use such a graph. Small ones read all float32 vectors from SQLite for
every query, multiply, and sort all photos. Each is freed before the next begins.
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from peer_data import PeerData
from search_table import Ids, SearchTable, answers, folder_bytes, recalls, timed

from mkt_search.types import Vector

EF_SEARCH = 200
SLOW_QUERIES = 5  # labels for a search that takes seconds
PAGE_BYTES = 65_536  # with SQLite's default of 4,096 each vector would take a page of its own


def hnsw(data: PeerData, table: SearchTable) -> None:
    """Time a graph of global vectors."""
    graph = faiss.IndexHNSWFlat(data.global_vectors.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    building = timed(lambda: graph.add(data.global_vectors))
    faiss.omp_set_num_threads(1)
    graph.hnsw.efSearch = EF_SEARCH
    k = data.best.shape[1]
    found, times = answers(lambda z: graph.search(z[None], k)[1][0], data.labels)
    what = f"global vectors, HNSW (M = 32, efSearch = {EF_SEARCH})"
    note = f"built in {building / 1e3:.0f} s"
    table.add(what, times, recalls=recalls(data.best, found), note=note)


def sqlite(data: PeerData, table: SearchTable) -> None:
    """Time global vectors stored as blobs, for a few labels."""
    with tempfile.TemporaryDirectory() as folder:
        with closing(sqlite3.connect(Path(folder) / "peer.db")) as database:
            database.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            database.execute("CREATE TABLE photo (id INTEGER PRIMARY KEY, vector BLOB)")
            rows = ((i, vector.tobytes()) for i, vector in enumerate(data.global_vectors))
            database.executemany("INSERT INTO photo VALUES (?, ?)", rows)
            database.commit()
            k = data.best.shape[1]
            search = partial(_compare_all, database, k)
            found, times = answers(search, data.labels[:SLOW_QUERIES])
        note = f"{folder_bytes(Path(folder)) / 1e6:,.0f} MB of disk, {len(found)} labels"
    what, recall = "global vectors, SQLite and NumPy", recalls(data.best[:SLOW_QUERIES], found)
    table.add(what, times, recalls=recall, note=note)


def _compare_all(database: sqlite3.Connection, k: int, label: Vector) -> Ids:
    """Read every vector, score it and sort all, as a small tool does for every query."""
    rows = database.execute("SELECT id, vector FROM photo").fetchall()
    matrix = np.frombuffer(b"".join(vector for _, vector in rows), np.float32)
    scores = matrix.reshape(len(rows), -1) @ label
    order = sorted(range(len(rows)), key=lambda i: -scores[i])
    return np.array(order[:k])
