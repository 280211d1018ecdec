"""A map as it is shown: a point for each photo that a search can find, and the named clusters."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import QueryError
from mkt_search.projection import file as files
from mkt_search.projection.clusters import Cluster, nearest
from mkt_search.projection.stored import StoredMap
from mkt_search.store.records import ShownContents
from mkt_search.store.store import Store
from mkt_search.types import Vector

KEPT = 3  # maps: of now, and those that pages still show

STALE = (
    "The map shows how photos were alike to another model, or with other settings; `mkt map` makes "
    "it again."
)


class MapCluster(NamedTuple):
    """A named group of photos: level 0 from afar, 1 near; its center, and how many photos it has.

    The name is "" where the model knows no label.
    """

    level: int
    x: float
    y: float
    name: str
    photos: int


@dataclass(frozen=True)
class PhotoMap:
    """The library as a plane; alike photos lie side by side.

    Args:
        photo_ids: (n,) int64, rising: one photo a content, the oldest of its copies.
        content_ids: (n,) int64.
        points: (n, 2) float32: x and y, from -1 to 1.
        clusters: at two levels.
        encoding: the fingerprint of the vectors that the map was made from.
        revision: of the library, when the map was last brought up to date.
        seed: of the layout.
        missing: how many photos that a search can find are not on the map yet.
        stale: a sentence if the vectors of the library are others by now, else "".
        version: changes when any of these does.
    """

    photo_ids: NDArray[np.int64]
    content_ids: NDArray[np.int64]
    points: Vector
    clusters: tuple[MapCluster, ...]
    encoding: str
    revision: int
    seed: int
    missing: int
    stale: str
    version: str

    def __len__(self) -> int:
        """Count the points."""
        return len(self.photo_ids)


class MapReader:
    """Reads the map of a library as it is now; threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._file = store.directory / files.FILE
        self._lock = Lock()
        self._kept: OrderedDict[str, PhotoMap] = OrderedDict()

    def get(self, version: str | None = None) -> PhotoMap | None:
        """Return the map; None if the library has none.

        Args:
            version: of a map that was returned before; None is now.

        Raises:
            QueryError: the map of that version is gone.
            MapError, StoreError.
        """
        with self._lock:
            if version is None:
                return self._now()
            if version not in self._kept:
                raise QueryError("The map has changed since; ask for it again.")
            return self._kept[version]

    def _now(self) -> PhotoMap | None:
        while True:
            revision = self._store.revision()
            version = f"{revision}-{_state(self._file)}"
            if version in self._kept:
                return self._kept[version]
            stored = files.load(self._file)
            if stored is None:
                return None
            contents = self._store.catalog.shown_contents()
            active = self._store.active
            if self._store.revision() != revision:
                continue  # a writer has committed in between
            encoding = "" if active is None else active.encoding.fingerprint
            self._kept[version] = shown(stored, contents, encoding, version)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[version]


def shown(stored: StoredMap, contents: ShownContents, encoding: str, version: str) -> PhotoMap:
    """Return a map of those photos of a library that it has.

    Args:
        stored: the map.
        contents: what a search can find.
        encoding: the fingerprint of the vectors that are searched.
        version: of the result.
    """
    rows = stored.rows_of(contents.keys)
    is_known = rows >= 0
    points = stored.points[rows[is_known]]
    return PhotoMap(
        photo_ids=contents.photo_ids[is_known],
        content_ids=contents.content_ids[is_known],
        points=points,
        clusters=_counted(stored.clusters, points),
        encoding=stored.encoding,
        revision=stored.revision,
        seed=stored.seed,
        missing=int((~is_known).sum()),
        stale="" if stored.encoding == encoding else STALE,
        version=version,
    )


def _counted(clusters: Sequence[Cluster], points: Vector) -> tuple[MapCluster, ...]:
    found: list[MapCluster] = []
    for level in sorted({cluster.level for cluster in clusters}):
        own = [cluster for cluster in clusters if cluster.level == level]
        centers = np.array([[cluster.x, cluster.y] for cluster in own], np.float32)
        counts = np.bincount(nearest(points, centers), minlength=len(own)).tolist()
        found += [MapCluster(*cluster, count) for cluster, count in zip(own, counts, strict=True)]
    return tuple(found)


def _state(path: Path) -> str:
    """Return what changes when a file is replaced; "" if there is none."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_mtime_ns:x}-{about.st_size:x}"
