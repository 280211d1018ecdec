"""How long tagging with a large vocabulary takes, against the bare matrix products in it.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1    tagging has threads of its own
    python benchmarks/tagging.py --photos 2000 --photos 6000
    python benchmarks/tagging.py --photos 100000 --base 5000     1 GB of disk, some minutes

Simulated photos (`simulated.py`) go through the real store, labels are concepts with noise, and the
real tagging chooses, writes, replaces and only counts. Every library is measured in a process of
its own, so that its peak memory is its own: of the tag run, without the floor, which comes after.
The floor multiplies as many vectors with all labels, block by block, on as many threads. Decoding
is timed on the same threads, alone; the database from the last score to the commit; the choice is
what is left: maximum over a photo's vectors, sum, best labels, the file in between.
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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.picks import Blocks, Choice, blocks_within
from mkt_search.store.store import Store
from mkt_search.store.tag_runs import TagReport
from mkt_search.store.vectors import VectorIndex
from mkt_search.tagging import SCORING, tag
from mkt_search.types import Vector

HEAD = (
    "| photos | labels | memory_mb | blocks | floor s | run s | run / floor | decode | product "
    "| choice | database | MB before | MB peak | again s | dry run s |"
)


@dataclass
class Clock:
    """Takes the time of a run, and of its last score."""

    start: float = field(default_factory=time.perf_counter)
    scored: float = 0.0

    def told(self, step: str, _done: int, _total: int) -> None:
        """Note when the last photo was scored."""
        if step == SCORING:
            self.scored = time.perf_counter() - self.start

    def seconds(self) -> float:
        """Return how long the run took."""
        return time.perf_counter() - self.start


def make(folder: Path, photos: int, base: int, labels: int, local: str) -> None:
    """Fill a library with simulated photos, and write label vectors beside them."""
    import simulated  # not above: its libraries are no part of what is measured

    world, stored = simulated.World.make(), simulated.encoding(local)
    store = Store.create(folder)
    simulated.fill(store, stored, simulated.photos(world, photos, stored, base=base))
    np.save(folder.parent / "labels.npy", world.labels(labels))
    store.close()


def measure(folder: Path, top: int, memory: int, threads: int) -> str:
    """Tag a library thrice and return a row of the table."""
    store = Store.open(folder)
    assert store.active is not None
    index = VectorIndex(store, store.active)
    index.refresh()
    vectors = np.load(folder.parent / "labels.npy")
    labels = len(vectors)
    names = [f"label {i}" for i in range(labels)]
    fit = blocks_within(memory, index.encoding, labels, top=top)
    blocks = Blocks(fit.photos, fit.labels, min(fit.threads, threads or fit.threads))

    def run(number: int | None, clock: Clock) -> TagReport:
        choice = Choice(top, None)
        return tag(index, names, vectors, choice=choice, blocks=blocks, run=number, told=clock.told)

    before, clock = peak(), Clock()
    with store.writing("benchmark"), store.run("tag", {"labels": names}) as first:
        report = run(first.id, clock)
    seconds, scored, most = clock.seconds(), clock.scored, peak()
    assert report.added == top * len(index), "every photo has its labels"
    again = Clock()
    with store.writing("benchmark"), store.run("tag", {"labels": names}) as second:
        assert run(second.id, again).kept == report.added, "the same labels again"
    again_seconds, dry = again.seconds(), Clock()
    assert run(None, dry).kept == report.added
    dry_seconds = dry.seconds()
    floor, decode = floor_of(index, vectors, blocks), decoding_of(index, blocks)
    store.close()
    shares = decode, floor, scored - floor - decode, seconds - scored
    return (
        f"| {len(index):,} | {labels:,} | {memory:,} "
        f"| {blocks.threads} x {blocks.photos} x {blocks.labels:,} "
        f"| {floor:.2f} | {seconds:.2f} | {seconds / floor:.2f} | "
        + " | ".join(f"{share / seconds:.1%}" for share in shares)
        + f" | {before:.0f} | {most:.0f} | {again_seconds:.2f} | {dry_seconds:.2f} |"
    )


def peak() -> float:
    """Return the most memory the process ever had, in MB of 10^6 bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def floor_of(index: VectorIndex, labels: Vector, blocks: Blocks) -> float:
    """Return the seconds of the products alone: vectors decoded before, results thrown away."""
    rows = index.read(np.flatnonzero(index.live)[: blocks.photos]).reshape(-1, labels.shape[1])
    out = [np.empty((len(rows), len(labels)), np.float32) for _ in range(blocks.threads)]
    for buffer in out:
        buffer.fill(0)  # else the first products wait for fresh memory

    def work(number: int) -> None:
        np.matmul(rows, labels.T, out=out[number])

    return on_threads(len(index) / blocks.photos, blocks.threads, work)


def decoding_of(index: VectorIndex, blocks: Blocks) -> float:
    """Return the seconds that reading and decoding every photo takes."""
    parts: list[NDArray[np.int64]] = list(
        index.blocks(np.flatnonzero(index.live), most=blocks.photos)
    )

    def work(number: int) -> None:
        for slots in parts[number :: blocks.threads]:
            index.read(slots)

    with ThreadPoolExecutor(blocks.threads) as pool:
        start = time.perf_counter()
        list(pool.map(work, range(blocks.threads)))
        return time.perf_counter() - start


def on_threads(times: float, threads: int, work: Callable[[int], None]) -> float:
    """Return the seconds that `times` calls take, told from whole ones, each thread its share."""
    each = max(1, round(times / threads))

    def several(number: int) -> None:
        for _ in range(each):
            work(number)

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(several, range(threads)))
        return (time.perf_counter() - start) * times / (each * threads)


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, action="append", help="may be given several times")
    parser.add_argument("--base", type=int, default=2_000, help="photos with patches of their own")
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--memory-mb", type=int, action="append", help="as [tag] memory_mb")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as processors")
    parser.add_argument("--local", choices=["kset", "cover", "centroids"], default="kset")
    given = parser.parse_args()
    print(HEAD)
    print("|--:|--:|--:|---|" + "--:|" * 11, flush=True)
    fresh = multiprocessing.get_context("spawn")
    for photos in given.photos or [2_000]:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / ".mkt"
            with fresh.Pool(1) as pool:
                pool.apply(make, (place, photos, given.base, given.labels, given.local))
            for memory in given.memory_mb or [1_000]:
                with fresh.Pool(1) as pool:
                    asked = (place, given.top, memory, given.threads)
                    print(pool.apply(measure, asked), flush=True)


if __name__ == "__main__":
    main()
