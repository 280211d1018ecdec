"""Search a large library on a small machine, and compare with the exact scan and with other tools.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
    python benchmarks/retrieval.py                     100,000 photos: 3 GB of disk, some minutes
    python benchmarks/retrieval.py --photos 1000000    needs 12 GB of disk and 14 GB of memory
    python benchmarks/retrieval.py --photos 5000 --rows exact,candidates,filters,hnsw,sqlite
    python benchmarks/retrieval.py --precision int8 --precision int4 --rows candidates

Simulated photos of several objects (`simulated.py`) are stored, `optimize` builds the candidate
index and measures its recall on remembered labels, and other labels are searched. Two tables are
printed for each size and precision:

- queries: the median and 95th percentile over the same labels. The truth is the exact score of
  every stored photo (`truth.py`). A query has one thread, except in the exact scan and in LanceDB,
  which use all. "MB read" is the size of the vectors that a query reads; "read / p50" is the share
  of its time that reading as many bytes from memory takes, measured at the same moment.
- library: disk, memory and other times, with aims for 100,000 and 1,000,000 photos. Memory is what
  the process allocated; pages of files, which the system can drop, do not count.

The library is deleted before the peers (`peer_rows.py`, `lancedb_rows.py`) start, and each of them
before the next. `--keep FOLDER` keeps the filled library for the next run of the same size.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import faiss
import lancedb_rows
import library_rows
import memory
import peer_rows
import simulated
from peer_data import PeerData, read_peer_data
from reader import new_reader
from results import Results, add_json_option, as_text, met
from search_table import SearchTable, SearchTimes, folder_bytes, timed
from truth import truth

from mkt_search.store.candidates.policy import DEFAULT as BUILD
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.optimize import optimize
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store

ROW_NAMES = ("exact", "candidates", "several", "filters", "hnsw", "sqlite", "lancedb")
PEERS = {"hnsw", "sqlite", "lancedb"}
PEER_PHOTOS = 100_000
FILLED = "filled"  # a file in the folder of a library that has all its photos
AIMS: dict[int, dict[str, float]] = {  # at most, and of recall at least; by the number of photos
    100_000: {
        **{"p50 ms": 10, "p95 ms": 15, "recall@100": 0.99, "recall@10 under filters": 0.99},
        **{"memory MB": 130, "first answer s": 1, "removal ms": 50},
        **{"bytes in int8": 9_500, "bytes in int4": 5_500},
    },
    1_000_000: {
        **{"p50 ms": 35, "p95 ms": 50, "recall@100": 0.98, "recall@10 under filters": 0.99},
        **{"memory MB": 1_200, "first answer s": 2, "removal ms": 100},
        **{"bytes in int8": 9_500, "bytes in int4": 5_500},
    },
}


@dataclass(frozen=True)
class Case:
    """One library: its size and form, the searches, and the rows to measure."""

    photos: int
    pooling: str
    precision: str
    base: int
    queries: int
    recall: float
    rows: frozenset[str]
    peer_photos: int
    keep: Path | None

    @property
    def name(self) -> str:
        """The end of the names of its tables."""
        return f"{self.photos:,} photos, {self.precision}"

    @property
    def fused_photos(self) -> int:
        """Photos whose fused vectors a peer searches."""
        is_used = "lancedb" in self.rows and lancedb_rows.is_installed()
        return min(self.photos, self.peer_photos) if is_used else 0


@dataclass
class Facts:
    """Figures of a library, collected while it is measured and printed as a table at the end."""

    case: Case
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, what: str, value: float, spec: str = ",.0f", *, aim: str = "") -> None:
        """Add a figure; `aim` is a key of AIMS."""
        limit = AIMS.get(self.case.photos, {}).get(aim)
        if limit is None:
            self.rows.append((what, as_text(value, spec), "", ""))
            return
        is_met = value >= limit if aim.startswith("recall") else value <= limit
        self.rows.append((what, as_text(value, spec), f"{limit:,g}", met(is_met)))

    def print(self, results: Results) -> None:
        """Print the table."""
        columns = {"library": "", "measured": "", "aim": "", "result": ""}
        table = results.table(f"library, {self.case.name}", columns)
        for row in self.rows:
            table.row(*row)


def measure(case: Case, results: Results) -> None:
    """Fill a library, build its candidate index, and print its tables, peers included."""
    print(
        f"\n{case.photos:,} photos ({case.base:,} with patches of their own) as {case.pooling} in "
        f"{case.precision}, {case.queries} labels, k = {library_rows.K}"
    )
    facts = Facts(case)
    with memory.Peak() as peak, library_folder(case) as folder:
        table, data = measure_library(case, folder, facts, results)
    facts.add("peak memory of this program, GB", peak.bytes / 1e9, ".2f")
    if "hnsw" in case.rows:
        peer_rows.hnsw(data, table)
    if "sqlite" in case.rows:
        peer_rows.sqlite(data, table)
    if "lancedb" in case.rows:
        lancedb_rows.lancedb(data, table, recall=case.recall)
    facts.print(results)


@contextmanager
def library_folder(case: Case) -> Iterator[Path]:
    """Yield the folder of the library, and delete it at the end unless it is kept."""
    if case.keep is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        folder_name = f"{case.photos}-{case.base}-{case.pooling}-{case.precision}"
        (case.keep / folder_name).mkdir(parents=True, exist_ok=True)
        yield case.keep / folder_name


def measure_library(
    case: Case, folder: Path, facts: Facts, results: Results
) -> tuple[SearchTable, PeerData]:
    """Measure the library; return the table of queries and the vectors for the peers."""
    world = simulated.World.make()
    labels = world.labels(case.queries, seed=7)
    store = Store.create(folder / ".mkt")
    stored = fill(store, world, case, facts)
    build_index(store, stored, facts)
    measure_disk(store, facts)
    reader = new_reader(store.directory, labels[0], case.recall)
    first_answer = (reader.opening_ms + reader.first_answer_ms) / 1e3
    facts.add("new process, to its first answer, s", first_answer, ".2f", aim="first answer s")
    facts.add("memory it then holds, MB", reader.held_bytes / 1e6, aim="memory MB")
    snapshot = LocalSnapshot.open(store, stored)
    best = truth(snapshot, labels, library_rows.K, snapshot.content_ids())
    table = SearchTable(results, f"queries, {case.name}")
    if "exact" in case.rows:
        library_rows.exact(table, store, stored, labels, best)
    if "candidates" in case.rows:
        row = library_rows.candidates(table, snapshot, labels, best, case.recall)
        measure_label(row, facts)
    if "several" in case.rows:
        library_rows.several(table, snapshot, labels, case.recall)
    if "filters" in case.rows:
        filtered = library_rows.filters(table, snapshot, labels, case.recall)
        least = min(row.recall_at_10 or 0.0 for row in filtered)
        facts.add("least recall@10 under a filter", least, ".4f", aim="recall@10 under filters")
    data = read_peer_data(
        snapshot, labels, best, with_global=bool(case.rows & PEERS), sample=case.fused_photos
    )
    removing, seeing = library_rows.removal(store, snapshot)
    removed = f"removing {library_rows.REMOVED_PHOTOS:,} photos, ms"
    facts.add(removed, removing, aim="removal ms")
    facts.add("until a reader sees that, ms", seeing)
    store.close()
    return table, data


def fill(store: Store, world: simulated.World, case: Case, facts: Facts) -> StoredEncoding:
    """Fill a library with simulated photos, unless an earlier run did."""
    encoding = simulated.encoding(case.pooling, case.precision)
    if not (store.directory / FILLED).exists():
        parts = simulated.photos(world, case.photos, encoding, base=case.base)
        filling = timed(partial(simulated.fill, store, encoding, parts)) / 1e3
        facts.add("filling, photos/s", case.photos / filling)
        (store.directory / FILLED).touch()
    stored = store.active
    assert stored is not None
    return stored


def build_index(store: Store, stored: StoredEncoding, facts: Facts) -> None:
    """Build the candidate index on all threads."""
    vectors = simulated.World.make().labels(BUILD.calibration_labels, seed=11)
    with store.writing("benchmark"):
        remembered = {f"label {i}": vector.tobytes() for i, vector in enumerate(vectors)}
        store.catalog.remember_label_vectors("simulated", remembered)
        faiss.omp_set_num_threads(os.cpu_count() or 1)
        building = timed(lambda: optimize(store, stored))
        faiss.omp_set_num_threads(1)
    facts.add("building and measuring the candidate index, s", building / 1e3)


def measure_disk(store: Store, facts: Facts) -> None:
    """Add the bytes of disk of a photo."""
    photos, precision = facts.case.photos, facts.case.precision
    segments = folder_bytes(store.folder) / photos
    index = folder_bytes(store.index_folder) / photos
    whole = folder_bytes(store.directory) / photos
    facts.add("disk, bytes a photo", whole, aim=f"bytes in {precision}")
    facts.add("- of which segments", segments)
    facts.add("- candidate index", index)
    facts.add("- database", whole - segments - index)


def measure_label(row: SearchTimes | None, facts: Facts) -> None:
    """Add the times and the recall of one label through the candidate index."""
    if row is not None:
        facts.add("one label, p50 ms", row.p50_ms, ".1f", aim="p50 ms")
        facts.add("one label, p95 ms", row.p95_ms, ".1f", aim="p95 ms")
        if row.recall_at_100 is not None:
            facts.add("one label, recall@100", row.recall_at_100, ".4f", aim="recall@100")


def options() -> argparse.ArgumentParser:
    """Return the options of the program."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    several = "may be given several times"
    parser.add_argument("--photos", type=photos_number, action="append", help=f"100,000; {several}")
    parser.add_argument(
        "--base", type=positive, default=simulated.BASE, help="photos that are not recombined"
    )
    parser.add_argument("--queries", type=positive, default=100)
    parser.add_argument("--pooling", choices=simulated.KINDS, default=simulated.KINDS[0])
    parser.add_argument(
        "--precision", choices=["int8", "int4"], action="append", help=f"int8; {several}"
    )
    parser.add_argument("--recall", type=share, default=0.99)
    parser.add_argument(
        "--rows",
        type=rows,
        default=frozenset(ROW_NAMES),
        help=f"some of {','.join(ROW_NAMES)}; all",
    )
    parser.add_argument(
        "--peer-photos",
        type=photos_number,
        default=PEER_PHOTOS,
        help="the most photos whose fused vectors LanceDB stores; 100,000",
    )
    parser.add_argument("--keep", type=Path, help="a folder that keeps the library")
    add_json_option(parser)
    return parser


def rows(text: str) -> frozenset[str]:
    """Parse names of rows separated by commas."""
    names = text.split(",")
    unknown = [name for name in names if name not in ROW_NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no rows {unknown[0]!r}; there are {','.join(ROW_NAMES)}")
    return frozenset(names)


def photos_number(text: str) -> int:
    """Parse a number of photos that is large enough for a candidate index."""
    return at_least(BUILD.min_photos, text)


def positive(text: str) -> int:
    """Parse a number above 0."""
    return at_least(1, text)


def at_least(least: int, text: str) -> int:
    """Parse a whole number of at least `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def share(text: str) -> float:
    """Parse a share above 0 and up to 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share above 0 and up to 1")
    return number


def main() -> None:
    """Read the options, measure each size and precision, and save the tables."""
    given = options().parse_args()
    faiss.omp_set_num_threads(1)
    results = Results(given.json)
    for photos in given.photos or [100_000]:
        for precision in given.precision or ["int8"]:
            case = Case(
                photos,
                given.pooling,
                precision,
                min(given.base, photos),
                given.queries,
                given.recall,
                given.rows,
                given.peer_photos,
                given.keep,
            )
            measure(case, results)
    results.save()


if __name__ == "__main__":
    main()
