"""A table of searches: times, recall, and the share of the time that reading memory alone takes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import memory
import numpy as np
from numpy.typing import NDArray
from results import Results

from mkt_search.types import Vector

Ids = NDArray[np.int64]
SEARCH_COLUMNS = {
    **{"search": "", "p50 ms": ".1f", "p95 ms": ".1f", "recall@10": ".4f", "recall@100": ".4f"},
    **{"MB read": ",.1f", "read / p50": ".0%", "notes": ""},
}


@dataclass(frozen=True)
class SearchTimes:
    """A row of the table; a recall is None if it was not measured."""

    p50_ms: float
    p95_ms: float
    recall_at_10: float | None
    recall_at_100: float | None


class SearchTable:
    """A table of searches in the results of a benchmark."""

    def __init__(self, results: Results, name: str) -> None:
        """Begin the table."""
        self._table = results.table(name, SEARCH_COLUMNS)

    def add(
        self,
        what: str,
        times: Sequence[float],
        *,
        recalls: tuple[float | None, float | None] = (None, None),
        read: float = 0,
        threads: int = 1,
        note: str = "",
    ) -> SearchTimes:
        """Add a row.

        Args:
            what: the kind of search.
            times: milliseconds of the queries.
            recalls: at 10 and at 100.
            read: bytes that a query reads, 0 if unknown; the time that reading them from memory
                takes is measured now.
            threads: that read them.
            note: anything else.
        """
        p50, p95 = np.percentile(times, [50, 95]).tolist()
        share = memory.read_milliseconds(read, threads=threads) / p50 if read else None
        self._table.row(what, p50, p95, *recalls, read / 1e6 if read else None, share, note)
        return SearchTimes(p50, p95, *recalls)

    def skip(self, what: str, why: str) -> None:
        """Add a row without figures that says why."""
        self._table.row(what, *[None] * (len(SEARCH_COLUMNS) - 2), why)


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def answers(search: Callable[[Vector], Ids], labels: Vector) -> tuple[list[Ids], list[float]]:
    """Return what each label finds, and the milliseconds of each search."""
    found: list[Ids] = []
    return found, [timed(lambda z=label: found.append(search(z))) for label in labels]  # type: ignore[misc]


def share_found(truth: Ids, found: Sequence[Ids], depth: int) -> float:
    """Return the mean share of the first `depth` true best (Q, k) among as many found."""
    pairs = zip(truth, found, strict=True)
    return float(np.mean([np.isin(best[:depth], ids[:depth]).mean() for best, ids in pairs]))


def recalls(truth: Ids, found: Sequence[Ids]) -> tuple[float | None, float | None]:
    """Return the recall at 10 and at 100 of a truth (Q, k).

    For k < 10 the first is the recall at k; for k < 100 the second is None.
    """
    at_10 = share_found(truth, found, 10)
    return at_10, share_found(truth, found, 100) if truth.shape[1] >= 100 else None


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder and below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
