"""The vectors of a library as one searchable whole: slots in memory, segments on disk.

A slot is a row of a segment; slots are numbered in the order the segments were opened and stay put
while the library grows. Rows whose photos are gone keep their slots but are not live.
"""

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.store import generations
from mkt_search.store.ann import Sketch
from mkt_search.store.generations import Generation
from mkt_search.store.scan import Scan
from mkt_search.store.segments import Segment, open_segment
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import Encoding, Vector

log = logging.getLogger(__name__)

AT_ONCE = 256  # photos decoded together: about 9 MB of float32 at 17 vectors of 512 numbers
MOST_BLOCKS = 16  # blocks the scan may grow to before it is made anew as one

Slots = NDArray[np.int64]


class VectorIndex:
    """The vectors of one encoding. Threads may read together, but not beside `refresh`."""

    def __init__(self, store: Store, stored: StoredEncoding) -> None:
        self.store = store
        self.stored = stored
        self.revision = -1
        self.segments: list[Segment] = []
        self.files: dict[int, str] = {}  # of the segments, in their order, by id
        self.starts = np.zeros(1, np.int64)  # first slot of each segment, and the end
        self.live = np.zeros(0, np.bool_)
        self.contents = np.zeros(0, np.int64)
        self._scan = Scan(stored.encoding.dim)
        self._scanned = 0  # segments the scan has
        self.generation: Generation | None = None
        self._sketch: Sketch | None = None
        self._loaded: Generation | None = None  # the generation that the sketch is of
        self._covered: NDArray[np.bool_] | None = None
        self._slot_of: Slots | None = None

    @property
    def encoding(self) -> Encoding:
        """What the vectors are."""
        return self.stored.encoding

    def __len__(self) -> int:
        return int(self.starts[-1])

    def refresh(self) -> None:
        """Take in what was committed since the last call. Raises LibraryDamaged."""
        if self.store.revision() == self.revision:
            return
        moment = self.store.moment(self.stored.id)
        # a database gives the id of a deleted segment to a new one; a file's name is its digest
        if any(moment.files.get(id_) != file for id_, file in self.files.items()):
            self._start_over()
        for id_, file in moment.files.items():
            if id_ not in self.files:
                self.segments.append(open_segment(self.store.folder / file, self.encoding))
                self.files[id_] = file
        self.starts = np.cumsum([0, *map(len, self.segments)])
        self._find_live(moment.live)
        self.generation = moment.generation
        self._covered = self._slot_of = None
        self.revision = moment.revision

    def _start_over(self) -> None:
        self.segments, self.files = [], {}
        self._scan, self._scanned = Scan(self.encoding.dim), 0

    def _find_live(self, rows: Slots) -> None:
        ids = np.array(list(self.files), np.int64)
        order = np.argsort(ids)
        numbers = order[np.searchsorted(ids[order], rows[:, 0])] if len(rows) else rows[:, 0]
        slots = self.starts[numbers] + rows[:, 1]
        if len(slots) and slots.max() >= len(self):
            raise LibraryDamaged(
                "A segment has fewer rows than the database says. Run `mkt verify`."
            )
        self.live = np.zeros(len(self), np.bool_)
        self.contents = np.full(len(self), -1, np.int64)
        self.live[slots] = True
        self.contents[slots] = rows[:, 2]

    @property
    def sketch(self) -> Sketch | None:
        """The generation's, loaded when first asked for; None while there is none to be used."""
        if self._loaded != self.generation:
            self._sketch = None if self.generation is None else self._load(self.generation)
            self._loaded = self.generation
        return self._sketch

    def _load(self, generation: Generation) -> Sketch | None:
        """Load a sketch; a bad one is told, one that a writer has replaced since is not."""
        try:
            return generations.load(self.store.index_folder, generation, self.encoding.dim)
        except LibraryDamaged as error:
            if self.store.revision() == self.revision:
                log.warning("%s", error)
            return None

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which live slots the sketch knows: (n,)."""
        if self._covered is None:
            known = np.empty(0, np.int64) if self.sketch is None else self.sketch.contents()
            self._covered = self.live & np.isin(self.contents, known)
        return self._covered

    def slots_of_contents(self, contents: Slots) -> Slots:
        """Return the live slots of contents in their order; those without one are left out."""
        if self._slot_of is None:
            live = np.flatnonzero(self.live)
            self._slot_of = np.full(int(self.contents.max(initial=-1)) + 1, -1, np.int64)
            self._slot_of[self.contents[live]] = live
        slots = self._slot_of[contents[contents < len(self._slot_of)]]
        return slots[slots >= 0]

    @property
    def scan(self) -> Scan:
        """The scan over every slot, made when first asked for and extended as segments arrive."""
        if self._scanned < len(self.segments):
            if len(self._scan.blocks) >= MOST_BLOCKS:
                self._scan, self._scanned = Scan(self.encoding.dim), 0
            new = self.segments[self._scanned :]
            peak = max(segment.peak() for segment in new)
            parts = (part for segment in new for part in _parts(segment))
            self._scan.add(parts, photos=sum(map(len, new)), peak=peak)
            self._scanned = len(self.segments)
        return self._scan

    def slots_of(self, contents: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mark the live slots that belong to some contents: (n,) bool."""
        return self.live & np.isin(self.contents, contents)

    def blocks(self, slots: Slots, *, most: int = AT_ONCE) -> Iterator[Slots]:
        """Cut slots into pieces of at most `most`, whose vectors fit in memory with ease."""
        size = min(most, AT_ONCE)
        return (slots[i : i + size] for i in range(0, len(slots), size))

    def read(self, slots: Slots) -> Vector:
        """Return (n, 1 + m, D) float32: the global and the local vectors of slots."""
        m = self.segments[0].codes.shape[1] if self.segments else 1
        out = np.empty((len(slots), m, self.encoding.dim), np.float32)
        for segment, rows, at in self._by_segment(slots):
            out[at] = segment.vectors(rows)
        return out

    def similarities(self, slots: Slots, labels: Vector) -> Vector:
        """Return the inner products of the vectors of slots with labels (L, D): (n, 1 + m, L)."""
        m = self.segments[0].codes.shape[1] if self.segments else 1
        out = np.empty((len(slots), m, len(labels)), np.float32)
        for segment, rows, at in self._by_segment(slots):
            out[at] = segment.similarities(rows, labels)
        return out

    def counts(self, slots: Slots) -> NDArray[np.int64]:
        """Return (n, m): how many patches each local vector stands for."""
        m = self.segments[0].members.shape[1] if self.segments else 0
        out = np.empty((len(slots), m), np.int64)
        for segment, rows, at in self._by_segment(slots):
            out[at] = segment.counts(rows)
        return out

    def member_patches(self, slots: Slots) -> NDArray[np.bool_]:
        """Return (n, m, P): which patches each local vector is the mean of."""
        m = self.segments[0].members.shape[1] if self.segments else 0
        out = np.empty((len(slots), m, self.encoding.patches), np.bool_)
        for segment, rows, at in self._by_segment(slots):
            out[at] = segment.member_patches(rows)
        return out

    def _by_segment(self, slots: Slots) -> Iterator[tuple[Segment, Slots, Slots]]:
        """Yield (segment, its rows, their places among the slots asked)."""
        numbers = np.searchsorted(self.starts, slots, side="right") - 1
        for number in np.unique(numbers):
            at = np.flatnonzero(numbers == number)
            yield self.segments[number], slots[at] - self.starts[number], at


def _parts(segment: Segment) -> Iterator[Vector]:
    for start in range(0, len(segment), AT_ONCE):
        yield segment.vectors(slice(start, start + AT_ONCE))
