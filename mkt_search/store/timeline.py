"""The photos of a library by the time they were taken, as arrays: a million photos take 4 MB."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import QueryError
from mkt_search.types import NO_FILTERS, Filters

Moments = NDArray[np.int64]
"""Milliseconds since 1970 of local times; `UNDATED` where nothing has a date."""

UNDATED = np.iinfo(np.int64).min
KEPT = 8  # timelines: of the filters that are looked at, and of revisions that pages still show


@dataclass(frozen=True)
class Month:
    """The `count` photos of a month ("2024-05"; None without a date) from index `first` on."""

    month: str | None
    first: int
    count: int


@dataclass(frozen=True)
class Timeline:
    """The indexed photos at one revision of the library: ids (n,) int32, the newest photo first.

    Photos without a date are last; of photos of one moment, the one with the larger id is first.
    """

    revision: int
    ids: NDArray[np.int32]
    months: tuple[Month, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, revision: int, ids: NDArray[np.int32], moments: Moments) -> "Timeline":
        """Sort photos by time.

        Args:
            revision: of the library.
            ids: (n,), rising.
            moments: (n,), when they were taken.
        """
        moments = moments[::-1]
        keys = np.where(moments == UNDATED, np.iinfo(np.int64).max, -moments)
        order = np.argsort(keys, kind="stable")  # keeps the ids of one moment in order
        return cls(revision, ids[::-1][order], _months(moments[order]))


def _months(moments: Moments) -> tuple[Month, ...]:
    """Return the months of sorted moments (n,)."""
    if not len(moments):
        return ()
    dated = moments[: int((moments != UNDATED).sum())]
    months = dated.astype("datetime64[ms]").astype("datetime64[M]")
    starts = np.flatnonzero(np.diff(months.astype(np.int64), prepend=np.iinfo(np.int64).max))
    counts = np.diff(starts, append=len(dated))
    found = [
        Month(str(months[start]), start, count)
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]
    if len(dated) < len(moments):
        found.append(Month(None, len(dated), len(moments) - len(dated)))
    return tuple(found)


class Timelines:
    """Keeps the timelines that were made last; any number of threads may ask.

    Args:
        read: makes the timeline of filters as it is now.
        revision: returns the revision of the library.
    """

    def __init__(self, read: Callable[[Filters], Timeline], revision: Callable[[], int]) -> None:
        self._read = read
        self._revision = revision
        self._kept: OrderedDict[tuple[int, Filters], Timeline] = OrderedDict()
        self._lock = Lock()  # also while one is made: two threads would make the same

    def get(self, filters: Filters = NO_FILTERS, *, revision: int | None = None) -> Timeline:
        """Return the timeline of the photos that meet filters.

        Args:
            filters: conditions on the photos.
            revision: of a timeline that was returned before; None is now.

        Raises:
            QueryError: the timeline of that revision is gone.
        """
        with self._lock:
            wanted = self._revision() if revision is None else revision
            found = self._kept.get((wanted, filters))
            if found is None or (revision is None and filters.tag is not None):
                if wanted != self._revision():
                    raise QueryError(
                        f"The list of photos has changed since revision {wanted}; ask for it again."
                    )
                found = self._read(filters)
            self._kept[found.revision, filters] = found
            self._kept.move_to_end((found.revision, filters))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found
