"""What others do, on the same photos: an HNSW graph of global vectors, and blobs of SQLite.

The graph is what photo tools with an index have, the product over float32 vectors read from SQLite
what small ones do for every query, all photos sorted. Each peer is let go of before the next.
"""

import os
import sqlite3
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from offered import Offered
from table import Ids, answers, recalls, row, size, timed

from mkt_search.types import Vector

EF_SEARCH = 200
FEW = 5  # labels that a peer of seconds a query is asked
PAGE = 65_536  # bytes; with SQLite's default of 4,096 each vector would take a page alone


def hnsw(offered: Offered) -> None:
    """Time a graph of global vectors."""
    graph = faiss.IndexHNSWFlat(offered.globals.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    building = timed(lambda: graph.add(offered.globals))
    faiss.omp_set_num_threads(1)
    graph.hnsw.efSearch = EF_SEARCH
    k = offered.best.shape[1]
    found, times = answers(lambda z: graph.search(z[None], k)[1][0], offered.labels)
    what = f"global vectors, HNSW (M = 32, efSearch = {EF_SEARCH})"
    note = f"built in {building / 1e3:.0f} s"
    row(what, times, recall=recalls(offered.best, found), note=note)


def sqlite(offered: Offered) -> None:
    """Time global vectors kept as blobs, for a few labels."""
    with tempfile.TemporaryDirectory() as folder:
        with closing(sqlite3.connect(Path(folder) / "peer.db")) as database:
            database.execute(f"PRAGMA page_size = {PAGE}")
            database.execute("CREATE TABLE photo (id INTEGER PRIMARY KEY, vector BLOB)")
            rows = ((i, vector.tobytes()) for i, vector in enumerate(offered.globals))
            database.executemany("INSERT INTO photo VALUES (?, ?)", rows)
            database.commit()
            k = offered.best.shape[1]
            found, times = answers(partial(_compare_all, database, k), offered.labels[:FEW])
        disk = f"{size(Path(folder)) / 1e6:,.0f} MB of disk, {len(found)} labels"
    recall = recalls(offered.best[:FEW], found)
    row("global vectors, SQLite blobs and numpy", times, recall=recall, note=disk)


def _compare_all(database: sqlite3.Connection, k: int, label: Vector) -> Ids:
    """Read every vector, score it and sort all: what a small tool does for every query."""
    rows = database.execute("SELECT id, vector FROM photo").fetchall()
    matrix = np.frombuffer(b"".join(vector for _, vector in rows), np.float32)
    scores = matrix.reshape(len(rows), -1) @ label
    order = sorted(range(len(rows)), key=lambda i: -scores[i])
    return np.array(order[:k])
