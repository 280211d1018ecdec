"""A reader that opens a library in a process of its own: the time and memory of a first answer."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import faiss
import library_rows
import memory
from table import timed

from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import Vector


@dataclass(frozen=True)
class Reader:
    """Milliseconds of opening, and of the first answer after; bytes held then, over before."""

    opening: float
    first: float
    held: int


def new_reader(directory: Path, label: Vector, recall: float) -> Reader:
    """Open a library in a new process and ask for one label (D,)."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as process:
        return process.submit(_read, directory, label, recall).result()


def _read(directory: Path, label: Vector, recall: float) -> Reader:
    faiss.omp_set_num_threads(1)
    store = Store.open(directory)
    stored = store.active
    assert stored is not None
    before, opened = memory.held(), []
    opening = timed(lambda: opened.append(LocalSnapshot.open(store, stored)))
    first = timed(lambda: library_rows.Asked(opened[0], recall).search(label))
    return Reader(opening, first, memory.held() - before)
