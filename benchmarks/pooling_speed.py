"""How long pooling takes: milliseconds a photo for each kind of local vectors.

    python benchmarks/pooling_speed.py

A batch of 32 simulated photos of 196 patches of 512 numbers, as a ViT-B/16 gives them at 224 px,
becomes 16 local vectors a photo (k = 18, scale rule `cosine`), by `indexer.pool` as `mkt index`
calls it. The kinds take turns, so that other work on the machine hurts all alike; printed are the
least and the median of the rounds by the clock, on one thread and on two. The least is nearest to
what the work takes.
"""

import argparse
import statistics
import time

import simulated
import torch

from indexer.memory import keep_freed_memory
from indexer.pool import pool
from mkt_search.types import Encoded

KINDS = (*simulated.KINDS, "topk")
THREADS = (1, 2)


def milliseconds(encoded: Encoded, kind: str) -> float:
    """Return how long it takes to pool a batch, a photo of it."""
    start = time.perf_counter()
    pool(encoded, simulated.encoding(kind))
    return (time.perf_counter() - start) / len(encoded.global_) * 1e3


def measure(encoded: Encoded, threads: int, rounds: int) -> dict[str, str]:
    """Return `least (median)` of every kind on so many threads."""
    torch.set_num_threads(threads)
    for kind in KINDS:
        pool(encoded, simulated.encoding(kind))  # warms up
    taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            taken[kind].append(milliseconds(encoded, kind))
    return {kind: f"{min(ms):.2f} ({statistics.median(ms):.2f})" for kind, ms in taken.items()}


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=32, help="in the batch")
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    keep_freed_memory()  # as `mkt index` does
    encoded = simulated.World.make().encoded(given.photos, 0)
    columns = [measure(encoded, threads, given.rounds) for threads in THREADS]
    print("| `local` | " + " | ".join(f"ms/photo, threads: {t}" for t in THREADS) + " |")
    print("|---|--:|--:|")
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(column[kind] for column in columns) + " |")


if __name__ == "__main__":
    main()
