"""Memory as the kernel counts it: what a process holds, its peak, and how fast it can be read."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np

READ = 256 << 20  # bytes read to learn the speed: far more than a processor's cache holds
READINGS = 5
EVERY = 0.02  # seconds between two looks at what is held


def held() -> int:
    """Return the bytes this process holds of its own: pages of files do not count (Linux)."""
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def available() -> int:
    """Return the bytes that can be taken before the machine runs out (Linux)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def floor(size: float, *, threads: int = 1) -> float:
    """Return the milliseconds that reading `size` bytes takes now: the speed of a plain sum."""
    parts = np.array_split(np.ones(READ // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as workers:
        times = []
        for _ in range(READINGS):
            start = perf_counter()
            list(workers.map(np.sum, parts))
            times.append(perf_counter() - start)
    return float(np.median(times)) * 1e3 * size / READ


class Peak:
    """The most bytes `held` by this process while the block ran, looked at all the time."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._keep_looking, daemon=True)

    def __enter__(self) -> "Peak":
        self._watch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._watch.join()
        self._look()

    def _keep_looking(self) -> None:
        while not self._over.wait(EVERY):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, held())
