"""How long pooling takes: milliseconds a photo for each kind of local vectors.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/pooling_speed.py

A batch of 32 simulated photos of 196 patches of 512 numbers, as a ViT-B/16 gives them at 224 px,
becomes 16 local vectors a photo (k = 18, scale rule `cosine`), by `indexer.pooling.pool` as
`mkt index` calls it, on one thread and on two. The kinds take turns, so that other work on the
machine hurts all alike; printed is the least of the rounds, which is nearest to what the work
takes: the time the processor worked (of both threads together) and the time by the clock.
OMP_WAIT_POLICY=PASSIVE keeps a thread that waits for the other from holding its core.
"""

import argparse
import time

import simulated
import torch

from indexer.pooling.pool import pool
from mkt_search.process import keep_freed_memory
from mkt_search.types import Encoded

KINDS = (*simulated.KINDS, "topk")


def milliseconds(encoded: Encoded, kind: str) -> tuple[float, float]:
    """Return what it takes to pool a batch, a photo of it: processor and clock."""
    used, start = time.process_time(), time.perf_counter()
    pool(encoded, simulated.encoding(kind))
    taken = time.process_time() - used, time.perf_counter() - start
    return taken[0] / len(encoded.global_) * 1e3, taken[1] / len(encoded.global_) * 1e3


def measure(encoded: Encoded, threads: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the least of the rounds of every kind on so many threads, by either clock."""
    torch.set_num_threads(threads)
    for kind in KINDS:
        pool(encoded, simulated.encoding(kind))  # warms up
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            taken[kind].append(milliseconds(encoded, kind))
    return {
        kind: (min(used for used, _ in ms), min(wall for _, wall in ms))
        for kind, ms in taken.items()
    }


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=32, help="in the batch")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, action="append", help="may be given several times")
    given = parser.parse_args()
    keep_freed_memory()  # as `mkt index` does
    encoded = simulated.World.make().encoded(given.photos, 0)
    print("| `local` | threads | processor ms/photo | ms/photo by the clock |\n|---|--:|--:|--:|")
    for threads in given.threads or (1, 2):
        for kind, (used, wall) in measure(encoded, threads, given.rounds).items():
            print(f"| {kind} | {threads} | {used:.2f} | {wall:.2f} |", flush=True)


if __name__ == "__main__":
    main()
