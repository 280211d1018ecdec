"""Memory as the kernel counts it: what a process holds, its peak, and how fast it can be read."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np

READ_BYTES = 256 << 20  # much more than a processor's cache holds
READINGS = 5
SAMPLE_SECONDS = 0.02


def held_bytes() -> int:
    """Return the bytes this process holds, without pages of files (Linux)."""
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def available_bytes() -> int:
    """Return the bytes that can be allocated before the machine runs out (Linux)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def read_milliseconds(size: float, *, threads: int = 1) -> float:
    """Return how long reading `size` bytes takes at the current speed of a plain sum."""
    parts = np.array_split(np.ones(READ_BYTES // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as workers:
        times = []
        for _ in range(READINGS):
            start = perf_counter()
            list(workers.map(np.sum, parts))
            times.append(perf_counter() - start)
    return float(np.median(times)) * 1e3 * size / READ_BYTES


class Peak:
    """The most bytes this process held while the block ran, sampled."""

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample_until_done, daemon=True)

    def __enter__(self) -> "Peak":
        self._sampler.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._sampler.join()
        self._sample()

    def _sample_until_done(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self.bytes = max(self.bytes, held_bytes())
