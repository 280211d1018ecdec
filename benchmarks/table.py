"""A table of searches: times, recall, and the share of the time that memory alone would take."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import memory
import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector

Ids = NDArray[np.int64]
HEAD = (
    "| way | p50 ms | p95 ms | recall@10 / @100 | MB read | floor / p50 | |\n"
    "|---|--:|--:|---|--:|--:|---|"
)
DEPTHS = (10, 100)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def answers(ask: Callable[[Vector], Ids], labels: Vector) -> tuple[list[Ids], list[float]]:
    """Return what every label finds, and the milliseconds of each."""
    found: list[Ids] = []
    return found, [timed(lambda z=label: found.append(ask(z))) for label in labels]  # type: ignore[misc]


def share(truth: Ids, found: Iterable[Ids], depth: int) -> float:
    """Return the mean share of the true best (Q, k), to a depth, among as many found."""
    pairs = zip(truth, found, strict=True)
    return float(np.mean([np.isin(best[:depth], ids[:depth]).mean() for best, ids in pairs]))


def recalls(truth: Ids, found: list[Ids]) -> str:
    """Return the recall at each depth that the truth (Q, k) reaches, else at k, as a cell."""
    k = truth.shape[1]
    depths = [depth for depth in DEPTHS if depth <= k] or [k]
    return " / ".join(f"{share(truth, found, depth):.4f}" for depth in depths)


def row(
    what: str,
    times: list[float],
    *,
    recall: str = "",
    read: float = 0,
    threads: int = 1,
    note: str = "",
) -> None:
    """Print one line.

    Args:
        what: the way of search.
        times: milliseconds of the queries.
        recall: the cell of recall.
        read: bytes a query reads, 0 when nobody knows; how long memory takes for as many is
            measured at this moment.
        threads: that read them.
        note: what else there is to say.
    """
    p50, p95 = np.percentile(times, [50, 95])
    floor = (
        f"{read / 1e6:,.1f} | {memory.floor(read, threads=threads) / p50:.0%}" if read else " | "
    )
    print(f"| {what} | {p50:.1f} | {p95:.1f} | {recall} | {floor} | {note} |", flush=True)


def left_out(what: str, why: str) -> None:
    """Print a line without figures that says why."""
    print(f"| {what} | | | | | | {why} |", flush=True)


def size(folder: Path) -> int:
    """Return the bytes of the files in a folder and below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
