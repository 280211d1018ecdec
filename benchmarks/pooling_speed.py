"""Time pooling: milliseconds a photo for each kind of local vectors.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/pooling_speed.py

A batch of 32 simulated photos of 196 patches of 512 numbers, the grid of a ViT-B/16 at 224 px, is
pooled to 16 local vectors a photo (k = 18) by `mkt_search.pooling.pool` as `mkt index` calls it, on
one thread and on two. The kinds alternate, so that other work on the machine slows all of them.
Printed is the fastest round: processor time (of both threads) and elapsed time.
OMP_WAIT_POLICY=PASSIVE keeps a waiting thread from occupying its core.
"""

import argparse
import time

import simulated
import torch
from results import Results, add_json_option, met

from mkt_search.pooling.pool import pool
from mkt_search.process import keep_freed_memory
from mkt_search.types import Encoded

AIM_MS = 1.0  # a photo, on one thread


def milliseconds(encoded: Encoded, kind: str) -> tuple[float, float]:
    """Return processor and elapsed milliseconds a photo of pooling a batch."""
    used, start = time.process_time(), time.perf_counter()
    pool(encoded, simulated.encoding(kind))
    taken = time.process_time() - used, time.perf_counter() - start
    return taken[0] / len(encoded.global_vectors) * 1e3, taken[1] / len(
        encoded.global_vectors
    ) * 1e3


def measure(encoded: Encoded, threads: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return processor and elapsed milliseconds a photo of each kind in its fastest round."""
    torch.set_num_threads(threads)
    for kind in simulated.KINDS:
        pool(encoded, simulated.encoding(kind))  # warms up
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in simulated.KINDS}
    for _ in range(rounds):
        for kind in simulated.KINDS:
            taken[kind].append(milliseconds(encoded, kind))
    return {
        kind: (min(used for used, _ in ms), min(wall for _, wall in ms))
        for kind, ms in taken.items()
    }


def main() -> None:
    """Read the options, print the table, and save it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=32, help="in the batch")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, action="append", help="may be given several times")
    add_json_option(parser)
    given = parser.parse_args()
    keep_freed_memory()  # as `mkt index` does
    encoded = simulated.World.make().encoded(given.photos, 0)
    results = Results(given.json)
    columns = {
        **{"pooling": "", "threads": "", "processor ms/photo": ".2f", "elapsed ms/photo": ".2f"},
        **{"aim": ".1f", "result": ""},
    }
    table = results.table("pooling", columns)
    for threads in given.threads or (1, 2):
        for kind, taken in measure(encoded, threads, given.rounds).items():
            aim = (AIM_MS, met(taken[0] <= AIM_MS)) if threads == 1 else (None, None)
            table.row(kind, threads, *taken, *aim)
    results.save()


if __name__ == "__main__":
    main()
