"""The vectors of a library at one moment as one searchable whole: slots, segments, candidate index.

A slot is a row of a segment; slots are numbered in the order the segments were opened and stay put
while the library grows. Rows whose photos are gone keep their slots but are not live.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann.exact_scan import Scan
from mkt_search.store.ann.pq_index import PQIndex
from mkt_search.store.segments.coding import decode, products
from mkt_search.store.segments.files import Bytes
from mkt_search.store.segments.segment import Segment, open_segments
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql.candidate_index import CandidateIndex
from mkt_search.store.sql.database import reading
from mkt_search.store.store import Manifest, Store, StoredEncoding
from mkt_search.types import Encoding, Vector

log = logging.getLogger(__name__)

TOGETHER = 4_096  # vectors multiplied together: two megabytes of bytes
AT_ONCE = 256  # photos decoded together: about 9 MB of float32 at 17 vectors of 512 numbers
MOST_BLOCKS = 16  # blocks the scan may grow to before it is made anew as one
MOST_STALE = 0.25  # share of slots in segments that were merged or dropped before all is reopened

FEW = 64  # photos; fewer are read as they come
PROBES = 32  # of them, each of which takes a microsecond in memory
FROM_DISK = 3e-5  # seconds that one takes that is not
SLOW = 2  # such probes: one alone may have been kept by the system's other work

Slots = NDArray[np.int64]


class LocalSnapshot:
    """The vectors of one encoding at one moment; threads may share it, for it never changes.

    `renewed` gives the index of a later moment, which shares what is slow to make. What is slow is
    made when first asked for: the scan, and the sketch of the candidate index.
    """

    def __init__(
        self,
        store: Store,
        stored: StoredEncoding,
        moment: Manifest,
        segments: tuple[Segment, ...],
        numbers: dict[int, int],
        before: "LocalSnapshot | None" = None,
    ) -> None:
        """Take a moment apart; `open` and `renewed` are the ways here.

        Args:
            store: the library.
            stored: the encoding.
            moment: its segments, and what is live.
            segments: open ones; those that are named no more keep their slots.
            numbers: which of them has the vectors of a segment id.
            before: the index whose live vectors those of the moment add to, where it has changes.
        """
        self.store = store
        self.stored = stored
        self.revision = moment.revision
        self.generation: CandidateIndex | None = moment.generation
        self.files = moment.files
        self.segments = segments
        self._numbers = numbers
        self.starts = np.cumsum([0, *map(len, segments)])  # first slot of each, and the end
        self.live = np.zeros(len(self), np.bool_)
        self.contents = np.full(len(self), -1, np.int64)
        self._scanning, self._loading = Lock(), Lock()
        self._scan = Scan(stored.encoding.dim)
        self._sketch: PQIndex | None = None
        self._is_loaded = moment.generation is None
        if before is not None:
            self._go_on_from(before, moment)
        slots = self._slots_at(moment.live)
        self.live[slots] = True
        self.contents[slots] = moment.live[:, 2]

    def _go_on_from(self, before: "LocalSnapshot", moment: Manifest) -> None:
        self.live[: len(before)] = before.live
        self.contents[: len(before)] = before.contents
        assert moment.changed is not None
        moved = before.slots_of_contents(moment.changed)
        self.live[moved] = False
        self.contents[moved] = -1
        self._scan = before._scan  # no lock: what is being made there now is made here again
        if before.generation == self.generation and before._is_loaded:
            self._sketch, self._is_loaded = before._sketch, True

    def _slots_at(self, places: NDArray[np.int64]) -> Slots:
        """Return the slots of places (n, 3): segment id, row, content id."""
        if not len(places):
            return np.empty(0, np.int64)
        if not self._numbers:
            raise LibraryDamaged("The database names a segment it does not have. Run `mkt repair`.")
        ids = np.array(sorted(self._numbers), np.int64)
        number_of = np.array([self._numbers[id_] for id_ in ids.tolist()], np.int64)
        at = np.searchsorted(ids, places[:, 0])
        numbers = number_of[np.minimum(at, len(ids) - 1)]
        slots: Slots = self.starts[numbers] + places[:, 1]
        if (places[:, 0] != ids[np.minimum(at, len(ids) - 1)]).any():
            raise LibraryDamaged("The database names a segment it does not have. Run `mkt repair`.")
        if (slots >= self.starts[numbers + 1]).any():
            raise LibraryDamaged(
                "A segment has fewer rows than the database says. Run `mkt verify`."
            )
        return slots

    @classmethod
    def open(
        cls, store: Store, stored: StoredEncoding, *, by_rows: bool = False
    ) -> "LocalSnapshot":
        """Open an encoding's vectors as they are now.

        Args:
            store: the library.
            stored: the encoding.
            by_rows: read every row of the database, and leave the places of the generation alone.

        Raises:
            LibraryDamaged.
        """
        moment = store.manifest(stored.id) if by_rows else _whole_manifest(store, stored)
        paths = [store.folder / file for file in moment.files.values()]
        segments = tuple(open_segments(paths, stored.encoding))
        numbers = {id_: number for number, id_ in enumerate(moment.files)}
        return cls(store, stored, moment, segments, numbers)

    def renewed(self) -> "LocalSnapshot":
        """Return the index of now, itself while nothing has changed. Raises LibraryDamaged."""
        if self.store.revision() == self.revision:
            return self
        moment = self.store.manifest(self.stored.id, since=self.revision)
        if moment.changed is None:
            return LocalSnapshot.open(self.store, self.stored)
        # a database gives the id of a deleted segment to a new one; a file's name is its digest
        new = [id_ for id_, file in moment.files.items() if self.files.get(id_) != file]
        opened = open_segments(
            [self.store.folder / moment.files[id_] for id_ in new], self.encoding
        )
        kept = {id_: self._numbers[id_] for id_ in moment.files if id_ not in new}
        segments = (*self.segments, *opened)
        numbers = kept | dict(zip(new, range(len(self.segments), len(segments)), strict=True))
        in_use = sum(len(segments[number]) for number in numbers.values())
        if in_use < (1 - MOST_STALE) * sum(map(len, segments)):
            return LocalSnapshot.open(self.store, self.stored)
        return LocalSnapshot(self.store, self.stored, moment, segments, numbers, before=self)

    @property
    def encoding(self) -> Encoding:
        """What the vectors are."""
        return self.stored.encoding

    def __len__(self) -> int:
        return int(self.starts[-1])

    def places(self) -> NDArray[np.int64]:
        """Return (n, 3): segment id, row and content id of every live vector."""
        slots = np.flatnonzero(self.live)
        ids = np.zeros(len(self.segments), np.int64)
        ids[list(self._numbers.values())] = list(self._numbers)
        numbers = self._numbers_of(slots)
        return np.stack([ids[numbers], slots - self.starts[numbers], self.contents[slots]], axis=1)

    @property
    def sketch(self) -> PQIndex | None:
        """The generation's, loaded when first asked for; None while there is none to be used."""
        with self._loading:
            if not self._is_loaded and self.generation is not None:
                self._sketch = self._load(self.generation)
                self._is_loaded = True
            return self._sketch

    def _load(self, generation: CandidateIndex) -> PQIndex | None:
        """Load a sketch; a bad one is told, one that a writer has replaced since is not."""
        try:
            return generations.load_pq_index(self.store.index_folder, generation, self.encoding)
        except LibraryDamaged as error:
            with reading(self.store.engine) as session:
                if generations.find(session, self.stored.id) == generation:
                    log.warning("%s", error)
            return None

    @cached_property
    def covered(self) -> NDArray[np.bool_]:
        """Which live slots the sketch knows: (n,)."""
        known = np.empty(0, np.int64) if self.sketch is None else self.sketch.contents
        return self.live & np.isin(self.contents, known)

    def slots_of_contents(self, contents: Slots) -> Slots:
        """Return the live slots of contents in their order; those without one are left out."""
        slots = self._slot_of[contents[contents < len(self._slot_of)]]
        return slots[slots >= 0]

    @cached_property
    def _slot_of(self) -> Slots:
        live = np.flatnonzero(self.live)
        slot_of = np.full(int(self.contents.max(initial=-1)) + 1, -1, np.int64)
        slot_of[self.contents[live]] = live
        return slot_of

    @property
    def scan(self) -> Scan:
        """The scan over every slot, made when first asked for and extended as segments arrive."""
        with self._scanning:
            if self._scan.photos < len(self):
                scan = self._scan.copy()
                if len(scan.blocks) >= MOST_BLOCKS:
                    scan = Scan(self.encoding.dim)
                new = self.segments[int(np.searchsorted(self.starts, scan.photos)) :]
                peak = max(segment.peak() for segment in new)
                parts = (part for segment in new for part in _parts(segment))
                scan.add(parts, photos=sum(map(len, new)), peak=peak)
                self._scan = scan
            return self._scan

    def slots_of(self, contents: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Mark the live slots that belong to some contents: (n,) bool."""
        return self.live & np.isin(self.contents, contents)

    def blocks(self, slots: Slots, *, most: int = AT_ONCE) -> Iterator[Slots]:
        """Cut slots into pieces of at most `most`, whose vectors fit in memory with ease."""
        return (slots[part] for part in _pieces(len(slots), min(most, AT_ONCE)))

    def read(self, slots: Slots) -> Vector:
        """Return (n, 1 + m, D) float32: the global and the local vectors of slots."""
        if not len(slots):
            return np.empty((0, self._rows, self.encoding.dim), np.float32)
        self._ahead(slots, _vectors_in)
        codes, steps = self._coded(slots)
        return decode(codes, steps, self.encoding.precision, self.encoding.dim)

    def similarities(self, slots: Slots, labels: Vector) -> Vector:
        """Return the inner products of the vectors of slots with labels (L, D): (n, 1 + m, L)."""
        self._ahead(slots, _vectors_in)
        found = np.empty((len(slots), self._rows, len(labels)), np.float32)
        for part in _pieces(len(slots), max(1, TOGETHER // self._rows)):
            codes, steps = self._coded(slots[part])
            products(codes, steps, labels, self.encoding.precision, out=found[part])
        return found

    def fused_products(self, slots: Slots, which: Slots, label: Vector) -> Vector:
        """Return (v,): the inner products of g + l of single local vectors with a label (D,).

        `slots` (v,), rising, say of which photos, `which` (v,) the local vector of each.
        """
        self._ahead(slots[np.diff(slots, prepend=-1) != 0], _vectors_in)
        fused = np.empty(len(slots), np.float32)
        for part in _pieces(len(slots), TOGETHER):
            fused[part] = self._fused_products(slots[part], which[part], label)
        return fused

    def _fused_products(self, slots: Slots, which: Slots, label: Vector) -> Vector:
        is_first = np.diff(slots, prepend=-1) != 0
        owner = np.cumsum(is_first) - 1
        global_at = np.flatnonzero(is_first) + np.arange(owner[-1] + 1)
        local_at = np.arange(len(slots)) + owner + 1  # of each photo: global, then its locals
        photos, rows = np.empty((2, local_at[-1] + 1), np.int64)
        photos[global_at], rows[global_at] = slots[is_first], 0
        photos[local_at], rows[local_at] = slots, np.minimum(1 + which, self._rows - 1)
        codes, steps = self._coded(photos, rows)
        found = products(codes, steps, label[None], self.encoding.precision)[:, 0]
        fused: Vector = found[global_at][owner]
        if self._rows > 1:
            fused += found[local_at]
        return fused

    @property
    def _rows(self) -> int:
        """Vectors of a photo: the global one and m local ones."""
        return self.segments[0].codes.shape[1] if self.segments else 1

    def _coded(self, slots: Slots, rows: Slots | None = None) -> tuple[Bytes, Vector]:
        """Return the codes and steps of slots, (n, 1 + m, W) and (n, 1 + m).

        With `rows` (n,), those of one vector of each slot, (n, W) and (n,); 0 is the global one.
        """
        width = self.segments[0].codes.shape[2] if self.segments else 0
        shape = (len(slots), self._rows) if rows is None else (len(slots),)
        codes, steps = np.empty((*shape, width), np.uint8), np.empty(shape, np.float32)
        for segment, inside, at in self._by_segment(slots):
            which = None if rows is None else rows[at]
            if isinstance(at, slice):
                segment.coded(inside, which, out=(codes[at], steps[at]))
            else:
                codes[at], steps[at] = segment.coded(inside, which)
        return codes, steps

    def counts(self, slots: Slots) -> NDArray[np.int64]:
        """Return (n, m): how many patches each local vector stands for."""
        m = self.segments[0].members.m if self.segments else 0
        self._ahead(slots, _members_in)
        out = np.empty((len(slots), m), np.int64)
        for segment, rows, at in self._by_segment(slots):
            out[at] = segment.members.counts(rows)
        return out

    def member_patches(self, slots: Slots) -> NDArray[np.bool_]:
        """Return (n, m, P): which patches each local vector is the mean of."""
        m = self.segments[0].members.m if self.segments else 0
        out = np.empty((len(slots), m, self.encoding.patches), np.bool_)
        for segment, rows, at in self._by_segment(slots):
            out[at] = segment.members.sets(rows)
        return out

    def _ahead(self, slots: Slots, arrays_of: Callable[[Segment], Sequence[NDArray[Any]]]) -> None:
        """Have rows of slots read from disk all at once, ahead of their use.

        One after another takes a disk several times as long. Of rows here and there, each of which
        is a request of its own, only if they are not in memory: there, asking takes longer than
        reading. Which of both it is, the time that a few of them take tells.
        """
        if len(slots) < FEW:
            return
        if 2 * len(slots) < slots.max() - slots.min() and not self._is_on_disk(slots, arrays_of):
            return
        for segment, inside, _ in self._by_segment(slots):
            segment.ahead(inside, *arrays_of(segment))

    def _is_on_disk(
        self, slots: Slots, arrays_of: Callable[[Segment], Sequence[NDArray[Any]]]
    ) -> bool:
        """Say whether some of a few of the rows take as long as from a disk."""
        few = slots[:: len(slots) // PROBES]
        numbers = self._numbers_of(few)
        rows = (few - self.starts[numbers]).tolist()
        arrays = [arrays_of(self.segments[number])[0] for number in numbers.tolist()]
        if not arrays[0].size:
            return False
        slow, before = 0, time.perf_counter()
        for array, row in zip(arrays, rows, strict=True):
            array.item(row * array.shape[1] * array.shape[2])  # the first number of the row
            now = time.perf_counter()
            slow += now - before > FROM_DISK
            before = now
            if slow >= SLOW:
                return True
        return False

    def _by_segment(self, slots: Slots) -> Iterator[tuple[Segment, Slots, Slots | slice]]:
        """Yield (segment, its rows, their places among the slots asked), in the segments' order.

        The places are a slice where the slots of a segment stand together.
        """
        numbers = self._numbers_of(slots)
        order = np.argsort(numbers, kind="stable")
        together = np.array_equal(order, np.arange(len(slots)))
        cuts = np.flatnonzero(np.diff(numbers[order], prepend=-2, append=-2))
        for first, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            at = slice(first, end) if together else order[first:end]
            number = numbers[order[first]]
            yield self.segments[number], slots[at] - self.starts[number], at

    def _numbers_of(self, slots: Slots) -> Slots:
        """Return which segment each slot is in."""
        return np.searchsorted(self.starts, slots, side="right") - 1


def _whole_manifest(store: Store, stored: StoredEncoding) -> Manifest:
    """Return a moment with every live vector, most of them from the places where there are some."""
    with reading(store.engine) as session:
        generation = generations.find(session, stored.id)
    if generation is None:
        return store.manifest(stored.id)
    try:
        places = generations.load_places(store.index_folder, generation)
    except LibraryDamaged as error:
        moment = store.manifest(stored.id)
        if moment.generation == generation:  # else a writer has replaced it since
            log.warning("%s", error)
        return moment
    moment = store.manifest(stored.id, since=generation.revision)
    if moment.changed is None:
        return moment
    same = places[~np.isin(places[:, 2], moment.changed)]
    return replace(moment, live=np.concatenate([same, moment.live]), changed=None)


def same_places(store: Store, stored: StoredEncoding) -> bool:
    """Say whether the places of the generation, and what changed since, are those of the rows."""
    found, rows = _whole_manifest(store, stored), store.manifest(stored.id)
    if found.revision != rows.revision:
        return True  # a writer is at work; it cannot be said now
    mine, theirs = (one.live[np.argsort(one.live[:, 2])] for one in (found, rows))
    return np.array_equal(mine, theirs)


def _pieces(count: int, size: int) -> Iterator[slice]:
    """Cut `count` things into pieces of at most `size`."""
    return (slice(first, first + size) for first in range(0, count, size))


def _parts(segment: Segment) -> Iterator[Vector]:
    return (segment.vectors(part) for part in _pieces(len(segment), AT_ONCE))


def _vectors_in(segment: Segment) -> tuple[NDArray[Any], ...]:
    return segment.codes, segment.steps


def _members_in(segment: Segment) -> tuple[NDArray[Any], ...]:
    return (segment.members.packed,)
