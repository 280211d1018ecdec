"""A new process that opens a library and answers one query: time and memory."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import library_rows
import memory
from search_table import timed

from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import Vector


@dataclass(frozen=True)
class Reader:
    """Milliseconds of opening and of the first answer, and the bytes held more than before."""

    opening_ms: float
    first_answer_ms: float
    held_bytes: int


def new_reader(directory: Path, label: Vector, recall: float) -> Reader:
    """Open a library in a new process and search for one label (D,)."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as process:
        return process.submit(_read, directory, label, recall).result()


def _read(directory: Path, label: Vector, recall: float) -> Reader:
    faiss.omp_set_num_threads(1)
    store = Store.open(directory)
    stored = store.active
    assert stored is not None
    before, opened = memory.held_bytes(), []
    opening = timed(lambda: opened.append(LocalSnapshot.open(store, stored)))
    first = timed(lambda: library_rows.CountedSearch(opened[0], recall).search(label))
    return Reader(opening, first, memory.held_bytes() - before)
