"""Index painted photos with the tiny student, and look at what is stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.encode import Encoder
from indexer.encoding import EncodingPlan
from indexer.index import index
from indexer.pipeline import IndexPolicy
from indexer.scan import SCANNING
from mkt_search.progress import Progress
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import PhotoRecord
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import Encoding, ImageSpec, Summary
from tests.tiny import GRID, SIDE

ENCODING = Encoding("tiny", 16, GRID, "cover", 4, 3, "int8")
SPEC = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
COLOURS = [(20 * n, 255 - 20 * n, 90) for n in range(12)]


class Notes:
    """Keeps progress events, and interrupts a run after some counts if `stop_after` is given."""

    def __init__(self, *, stop_after: int = 10**9) -> None:
        self.messages: list[str] = []
        self.counts: list[Progress] = []
        self.scans: list[Progress] = []
        self.stop_after = stop_after

    def __call__(self, event: Progress) -> None:
        if event.message:
            self.messages.append(event.message)
        elif event.step == SCANNING:
            self.scans.append(event)
        else:
            self.counts.append(event)
            if len(self.counts) > self.stop_after:  # the first is sent before any work
                raise KeyboardInterrupt


def plan(encoding: Encoding = ENCODING, *, rebuild: bool = False) -> EncodingPlan:
    """What to write, by the tiny student."""
    return EncodingPlan(encoding, "the tiny one", rebuild)


def bring_in(
    store: Store,
    encoder: Any,
    *folders: Path,
    encoding: Encoding = ENCODING,
    notes: Notes | None = None,
    rebuild: bool = False,
    open_searched: Callable[[StoredEncoding], Encoder] | None = None,
    **policy: Any,
) -> Summary:
    """Index folders in batches of five."""
    return index(
        store,
        encoder,
        folders,
        plan(encoding, rebuild=rebuild),
        policy=IndexPolicy(**{"batch_size": 5, "workers": 2, **policy}),
        open_searched=open_searched,
        progress=notes or Notes(),
    )


def photos(store: Store, state: str | None = "indexed") -> dict[str, PhotoRecord]:
    """The rows of photos, by path below the root."""
    return {photo.relative: photo for photo in store.catalog.photos(state=state)}


def vectors(store: Store) -> dict[str, NDArray[np.float32]]:
    """The stored vectors (1 + m, D) of every indexed photo, by path."""
    active = store.active
    assert active is not None
    found = LocalSnapshot.open(store, active)
    ids = store.catalog.content_ids_of([p.content or "" for p in photos(store).values()])
    return {
        path: found.vectors(np.array([ids[photo.content or ""]])).vectors[0]
        for path, photo in photos(store).items()
    }


def outcomes(store: Store) -> list[str]:
    """How the runs of a library ended."""
    return [run.outcome for run in store.catalog.runs()]
