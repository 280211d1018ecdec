"""A large library on one small machine, against the exact scan and against what others do.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python benchmarks/retrieval.py                      100,000 photos: 3 GB of disk, some minutes
    python benchmarks/retrieval.py --photos 1000000    meant for 12 GB of disk and 14 GB of memory
    python benchmarks/retrieval.py --photos 5000 --rows exact,candidates,filters,hnsw,sqlite
    python benchmarks/retrieval.py --precision int8 --precision int4 --rows candidates

Photos of several objects (`simulated.py`) go through the real store, `optimize` builds the
generation, and labels are searched by the real search. The truth is every photo scored exactly, in
one pass over the segments (`truth.py`): recall is of the stored form. One thread a query, but for
the exact scan and LanceDB, which take all. Every row is a median, and a 95th percentile, over the
same labels. "MB read" is what a query reads of vectors, "floor / p50" the share of its time that
reading as many bytes from memory takes, measured beside it. The library's rows come first; it is
deleted before the peers (`peer_rows.py`, `lancedb_rows.py`) begin, each of which is deleted before
the next. Memory is what the process holds of its own; pages of files, which the system may drop
at any time, do not count. With `--keep FOLDER` the filled library stays there, and the next run
with the same photos takes it again. The recall of the generation is measured on labels that the
library remembers: others than those asked here.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import faiss
import lancedb_rows
import library_rows
import memory
import peer_rows
import simulated
from lancedb_rows import lancedb
from offered import Offered, offer
from reader import new_reader
from table import HEAD, size, timed
from truth import truth

from mkt_search.store.candidates.policy import DEFAULT as BUILD
from mkt_search.store.optimize import optimize
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import Vector

ROWS = ("exact", "candidates", "several", "filters", "hnsw", "sqlite", "lancedb")
PEERS = {"hnsw", "sqlite", "lancedb"}
PEER_PHOTOS = 100_000
FILLED = "filled"  # in the folder of a library that has all its photos


@dataclass(frozen=True)
class Wanted:
    """One table: of how many photos, stored how, asked how, and which rows."""

    photos: int
    local: str
    precision: str
    base: int
    queries: int
    recall: float
    rows: frozenset[str]
    peer_photos: int
    keep: Path | None

    @property
    def fused_photos(self) -> int:
        """Photos whose every fused vector a peer is given."""
        wanted = "lancedb" in self.rows and lancedb_rows.is_installed()
        return min(self.photos, self.peer_photos) if wanted else 0


def measure(wanted: Wanted) -> None:
    """Fill a library, build its generation, and print its rows, then those of the peers."""
    print(
        f"\n{wanted.photos:,} photos ({wanted.base:,} with patches of their own) "
        f"as {wanted.local} in {wanted.precision}, {wanted.queries} labels, k = {library_rows.K}"
    )
    with memory.Peak() as peak, home(wanted) as folder:
        removed, offered = of_library(wanted, folder)
    with memory.Peak() as of_peers:
        of_others(wanted, offered)
    print(f"\n{removed}\npeak memory: {peak.bytes / 1e9:.1f} GB for the library's rows, ", end="")
    print(f"{of_peers.bytes / 1e9:.1f} GB for the peers'", flush=True)


@contextmanager
def home(wanted: Wanted) -> Iterator[Path]:
    """Give the folder of the library, which is deleted at the end unless it is to be kept."""
    if wanted.keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        name = f"{wanted.photos}-{wanted.base}-{wanted.local}-{wanted.precision}"
        (wanted.keep / name).mkdir(parents=True, exist_ok=True)
        yield wanted.keep / name


def of_library(wanted: Wanted, folder: Path) -> tuple[str, Offered]:
    """Print what the library takes and its rows; return what its last row says, and the photos."""
    world = simulated.World.make()
    labels = world.labels(wanted.queries, seed=7)
    store = Store.create(folder / ".mkt")
    stored = filled(store, world, wanted)
    optimized(store, stored)
    told_sizes(store, wanted.photos)
    told_reader(store, labels[0], wanted.recall)
    snapshot = LocalSnapshot.open(store, stored)
    assert snapshot.generation is not None
    print(f"validation: {snapshot.generation.curve.as_data()}")
    best = truth(snapshot, labels, library_rows.K, snapshot.content_ids())
    print(f"\n{HEAD}")
    if "exact" in wanted.rows:
        library_rows.exact(store, stored, labels, best)
    if "candidates" in wanted.rows:
        library_rows.candidates(snapshot, labels, best, wanted.recall)
    if "several" in wanted.rows:
        library_rows.several(snapshot, labels, wanted.recall)
    if "filters" in wanted.rows:
        library_rows.filters(snapshot, labels, wanted.recall)
    globals_, fused = bool(wanted.rows & PEERS), wanted.fused_photos
    offered = offer(snapshot, labels, best, globals_=globals_, fused=fused)
    removed = library_rows.removal(store, snapshot)
    store.close()
    return removed, offered


def of_others(wanted: Wanted, offered: Offered) -> None:
    """Print the rows of the peers."""
    if "hnsw" in wanted.rows:
        peer_rows.hnsw(offered)
    if "sqlite" in wanted.rows:
        peer_rows.sqlite(offered)
    if "lancedb" in wanted.rows:
        lancedb(offered, recall=wanted.recall)


def filled(store: Store, world: simulated.World, wanted: Wanted) -> StoredEncoding:
    """Fill a library with simulated photos."""
    encoding = simulated.encoding(wanted.local, wanted.precision)
    if (store.directory / FILLED).exists():
        assert store.active is not None
        print("filled before")
        return store.active
    parts = simulated.photos(world, wanted.photos, encoding, base=wanted.base)
    filling = timed(partial(simulated.fill, store, encoding, parts)) / 1e3
    print(f"filled in {filling:.0f} s: {wanted.photos / filling:,.0f} photos/s", flush=True)
    stored = store.active
    assert stored is not None
    (store.directory / FILLED).touch()
    return stored


def optimized(store: Store, stored: StoredEncoding) -> None:
    """Build the candidate index on all threads."""
    others = simulated.World.make().labels(BUILD.calibration_labels, seed=11)
    with store.writing("benchmark"):
        asked = {f"label {i}": vector.tobytes() for i, vector in enumerate(others)}
        store.catalog.remember_label_vectors("simulated", asked)
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        building = timed(lambda: optimize(store, stored))
        faiss.omp_set_num_threads(1)
    print(f"generation built and measured in {building / 1e3:.0f} s", flush=True)


def told_sizes(store: Store, photos: int) -> None:
    """Print the bytes of disk of a photo and of the library."""
    segments, sketch = size(store.folder) / photos, size(store.index_folder) / photos
    whole = size(store.directory)
    print(
        f"a photo: {segments:,.0f} bytes of segment, {sketch:,.0f} of generation, "
        f"{whole / photos - segments - sketch:,.0f} of database; disk: {whole / 1e9:.2f} GB"
    )


def told_reader(store: Store, label: Vector, recall: float) -> None:
    """Print what a new process takes to the first answer."""
    reader = new_reader(store.directory, label, recall)
    print(
        f"a new process opened it in {reader.opening:.0f} ms and answered first {reader.first:.0f} "
        f"ms later; it then held {reader.held / 1e6:,.0f} MB of memory more than before"
    )


def options() -> argparse.ArgumentParser:
    """Return the options of the program."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    several = "may be given several times"
    parser.add_argument("--photos", type=enough, action="append", help=f"100,000; {several}")
    parser.add_argument(
        "--base", type=positive, default=simulated.BASE, help="photos with patches of their own"
    )
    parser.add_argument("--queries", type=positive, default=100)
    parser.add_argument("--local", choices=simulated.KINDS, default=simulated.KINDS[0])
    parser.add_argument(
        "--precision", choices=["int8", "int4"], action="append", help=f"int8; {several}"
    )
    parser.add_argument("--recall", type=part, default=0.99)
    parser.add_argument(
        "--rows", type=rows, default=frozenset(ROWS), help=f"some of {','.join(ROWS)}; all"
    )
    parser.add_argument(
        "--peer-photos",
        type=enough,
        default=PEER_PHOTOS,
        help="photos whose every fused vector LanceDB is given, at most; 100,000",
    )
    parser.add_argument("--keep", type=Path, help="a folder for the library, to take it again")
    return parser


def rows(text: str) -> frozenset[str]:
    """Read names of rows with commas between them."""
    names = text.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no rows {unknown[0]!r}; there are {','.join(ROWS)}")
    return frozenset(names)


def enough(text: str) -> int:
    """Read a number of photos for which there can be a generation."""
    return at_least(BUILD.min_photos, text)


def positive(text: str) -> int:
    """Read a number above 0."""
    return at_least(1, text)


def at_least(least: int, text: str) -> int:
    """Read a whole number; raise what argparse tells the user when it is less than `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def part(text: str) -> float:
    """Read a share above 0 and up to 1."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0 and up to 1")
    return share


def main() -> None:
    """Read the options and print a table for each size and precision."""
    given = options().parse_args()
    faiss.omp_set_num_threads(1)
    for photos in given.photos or [100_000]:
        for precision in given.precision or ["int8"]:
            measure(
                Wanted(
                    photos,
                    given.local,
                    precision,
                    min(given.base, photos),
                    given.queries,
                    given.recall,
                    given.rows,
                    given.peer_photos,
                    given.keep,
                )
            )


if __name__ == "__main__":
    main()
