"""Time tagging with a large vocabulary against the matrix products in it.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1    tagging has threads of its own
    python benchmarks/tagging.py --photos 2000 --photos 6000
    python benchmarks/tagging.py --photos 100000 --base 5000     1 GB of disk, some minutes

Simulated photos (`simulated.py`) are stored, and labels are concepts with noise. The first run
chooses and writes tags, the second replaces them with the same ones, and a dry run only counts.
The floor multiplies as many vectors with all labels, in products of the same shapes on as many
threads. It is measured before and after each run, and each run is compared with its two neighbors
in processor time, which other programs disturb least.

The shares are of the first run: reading and decoding, timed alone on the same threads; the
product, which is the floor; the database, from the last score to the commit; and the rest, which
is the maximum over a photo's vectors, the sum, the best labels and the spill file. Each library is
measured in a process of its own, so that its peak memory is its own; "before" is the memory with
the snapshot and the label vectors loaded.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from results import Results, add_json_option

from mkt_search.progress import Progress
from mkt_search.store.records import TagReport
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.tagging.assign import DEFAULT, Blocks, TagRule, blocks_within
from mkt_search.tagging.bulk import SCORING, tag
from mkt_search.tagging.choice import Choice
from mkt_search.types import Vector

KINDS = ("cover", "topk")
RUN_COLUMNS = {
    **{"photos": ",", "labels": ",", "floor s": ".2f", "run s": ".2f", "again s": ".2f"},
    **{"dry run s": ".2f", "run / floor": ".2f", "again / floor": ".2f", "dry run / floor": ".2f"},
}
SHARE_COLUMNS = {
    **{"photos": ",", "memory_mb": ",", "threads x photos x labels": "", "decode": ".1%"},
    **{"product": ".1%", "database": ".1%", "rest": ".1%", "MB before": ".0f", "MB peak": ".0f"},
}
Cells = tuple[str | int | float, ...]


class Span:
    """A stopwatch: elapsed seconds, and processor seconds of all threads."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()
        self.wall = self.work = 0.0

    def stop(self) -> None:
        """Record the time since the start."""
        self.wall, self.work = (
            time.perf_counter() - self._start[0],
            time.process_time() - self._start[1],
        )


@dataclass
class Clock:
    """The time of a run, and of its last score."""

    whole: Span = field(default_factory=Span)
    scored: Span = field(default_factory=Span)

    def progress(self, event: Progress) -> None:
        """Record when the last photo was scored."""
        if event.step == SCORING:
            self.scored.stop()


def make(folder: Path, photos: int, base: int, labels: int, pooling: str) -> None:
    """Fill a library with simulated photos, and write label vectors beside them."""
    import simulated  # not at the top: its libraries would count as memory of the measured process

    world, stored = simulated.World.make(), simulated.encoding(pooling)
    store = Store.create(folder)
    simulated.fill(store, stored, simulated.photos(world, photos, stored, base=base))
    np.save(folder.parent / "labels.npy", world.labels(labels))
    store.close()


def measure(folder: Path, top: int, memory: int, threads: int) -> tuple[Cells, Cells]:
    """Tag a library, tag it again, and run dry, with floors in between; return both rows."""
    store = Store.open(folder)
    assert store.active is not None
    snapshot = LocalSnapshot.open(store, store.active)
    vectors = np.load(folder.parent / "labels.npy")
    labels = len(vectors)
    names = [f"label {i}" for i in range(labels)]
    fit = blocks_within(memory, snapshot.encoding, labels, top=top)
    blocks = Blocks(fit.photos, fit.labels, min(fit.threads, threads or fit.threads))
    before, floors, clocks = peak(), [floor_of(snapshot, vectors, blocks)], []

    def run(number: int | None) -> TagReport:
        clock = Clock()
        report = tag(
            store.catalog,
            snapshot,
            names,
            vectors,
            choice=Choice(TagRule(top), ""),
            blocks=blocks,
            run=number,
            spill_folder=store.directory,
            progress=clock.progress,
        )
        clock.whole.stop()
        clocks.append(clock)
        floors.append(floor_of(snapshot, vectors, blocks))
        return report

    with store.writing("benchmark"):
        with store.run("tag", {"labels": names}) as first:
            written = run(first.id)
        with store.run("tag", {"labels": names}) as second:
            again = run(second.id)
    dry = run(None)
    assert written.added == again.kept == dry.kept == top * snapshot.facts.photos, (
        "the same labels each time"
    )
    most, decode = peak(), decoding_of(snapshot, blocks).work
    for number in (second.id, first.id):
        store.catalog.revert_run(number)
    store.close()
    near = [(one.work + other.work) / 2 for one, other in pairwise(floors)]
    whole, scored = clocks[0].whole.work, clocks[0].scored.work
    shares = decode, near[0], whole - scored, scored - near[0] - decode
    walls = [np.median([floor.wall for floor in floors]), *(clock.whole.wall for clock in clocks)]
    ratios = [clock.whole.work / there for clock, there in zip(clocks, near, strict=True)]
    shape = f"{blocks.threads} x {blocks.photos} x {blocks.labels:,}"
    of_whole = (share / whole for share in shares)
    return (
        (snapshot.facts.photos, labels, *map(float, walls), *ratios),
        (snapshot.facts.photos, memory, shape, *of_whole, before, most),
    )


def peak() -> float:
    """Return the peak memory of the process in MB of 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def floor_of(snapshot: LocalSnapshot, labels: Vector, blocks: Blocks) -> Span:
    """Time the matrix products alone, on vectors that are already decoded."""
    first_block = snapshot.content_ids()[: blocks.photos]
    rows = snapshot.vectors(first_block).vectors.reshape(-1, labels.shape[1])
    photos, m, width = snapshot.facts.photos, snapshot.encoding.m, DEFAULT.labels_per_product
    out = np.zeros((blocks.threads, len(rows), width), np.float32)
    starts = range(0, photos, blocks.photos)

    def work(number: int) -> None:
        for start in starts[number :: blocks.threads]:
            part = rows[: (photos - start) * (1 + m)]
            for first in range(0, len(labels), width):
                tile = labels[first : first + width]
                np.matmul(part, tile.T, out=out[number, : len(part), : len(tile)])

    return on_threads(blocks.threads, work)


def decoding_of(snapshot: LocalSnapshot, blocks: Blocks) -> Span:
    """Time reading and decoding every photo."""
    content_ids = snapshot.content_ids()
    starts = range(0, len(content_ids), blocks.photos)

    def work(number: int) -> None:
        for first in starts[number :: blocks.threads]:
            snapshot.vectors(content_ids[first : first + blocks.photos])

    return on_threads(blocks.threads, work)


def on_threads(threads: int, work: Callable[[int], None]) -> Span:
    """Time threads that work in parallel; each gets its number."""
    with ThreadPoolExecutor(threads) as pool:
        span = Span()
        list(pool.map(work, range(threads)))
        span.stop()
    return span


def main() -> None:
    """Read the options, measure, print the tables, and save them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, action="append", help="may be given several times")
    parser.add_argument("--base", type=int, default=2_000, help="photos that are not recombined")
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument(
        "--memory-mb",
        type=int,
        action="append",
        help="as [tag] memory_mb; may be given several times",
    )
    parser.add_argument("--threads", type=int, default=0, help="0 is one per processor")
    parser.add_argument("--pooling", choices=KINDS, default=KINDS[0])
    add_json_option(parser)
    given = parser.parse_args()
    results, shares = Results(given.json), []
    table = results.table("runs", RUN_COLUMNS)
    spawn = multiprocessing.get_context("spawn")
    for photos in given.photos or [2_000]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / ".mkt"
            with spawn.Pool(1) as pool:
                pool.apply(make, (folder, photos, given.base, given.labels, given.pooling))
            for memory in given.memory_mb or [1_000]:
                with spawn.Pool(1) as pool:
                    options = (folder, given.top, memory, given.threads)
                    run, share = pool.apply(measure, options)
                table.row(*run)
                shares.append(share)
    table = results.table("shares", SHARE_COLUMNS)
    for share in shares:
        table.row(*share)
    results.save()


if __name__ == "__main__":
    main()
