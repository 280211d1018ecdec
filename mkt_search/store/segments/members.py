"""Which patches each local vector is the mean of, packed as a segment keeps them.

Sets of P patches are bits, ceil(P / 8) bytes a set, or, where no set has so many patches, lists of
their numbers, a byte a patch: 18 of 196 patches take 18 bytes for 25.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.segments.files import Bytes

Rows = NDArray[np.int64] | slice
Packing = Literal["members", "lists"]

NOBODY = 255  # fills a list; so of more patches than this there are no lists
BYTE = 8


@dataclass(frozen=True)
class Members:
    """The sets of n photos with m local vectors each.

    `packed` (n, m, w) uint8 is "members", the bits of P patches, or "lists" of up to w of their
    numbers, rising.
    """

    packed: Bytes
    form: Packing
    patches: int

    @classmethod
    def pack(cls, sets: NDArray[np.bool_]) -> "Members":
        """Pack sets (n, m, P) in the form that takes fewer bytes, bits where both take as many."""
        patches, counts = sets.shape[-1], sets.sum(axis=-1)
        most = int(counts.max(initial=0))
        if patches > NOBODY or not 0 < most < -(-patches // BYTE):
            return cls(np.packbits(sets, axis=-1), "members", patches)
        lists = np.full((*counts.shape, most), NOBODY, np.uint8)
        lists[np.arange(most) < counts[..., None]] = np.flatnonzero(sets) % patches
        return cls(lists, "lists", patches)

    @classmethod
    def joined(cls, parts: Sequence["Members"]) -> "Members":
        """Put the sets of several segments of one encoding one after another."""
        if len({(part.form, part.packed.shape[1:]) for part in parts}) == 1:
            packed = np.concatenate([part.packed for part in parts])
            return cls(packed, parts[0].form, parts[0].patches)
        return cls.pack(np.concatenate([part.sets(slice(None)) for part in parts]))

    @property
    def m(self) -> int:
        """Local vectors of a photo."""
        return int(self.packed.shape[1])

    def counts(self, rows: Rows) -> NDArray[np.int64]:
        """Count the patches of every set: (n, m)."""
        packed = self.packed[rows]
        each = packed != NOBODY if self.form == "lists" else np.bitwise_count(packed)
        counts: NDArray[np.int64] = each.sum(axis=-1, dtype=np.int64)
        return counts

    def sets(self, rows: Rows) -> NDArray[np.bool_]:
        """Undo `pack`: (n, m, P)."""
        packed = self.packed[rows]
        if self.form == "members":
            return np.unpackbits(packed, axis=-1, count=self.patches).view(np.bool_)
        found = np.zeros((*packed.shape[:-1], NOBODY + 1), np.bool_)
        np.put_along_axis(found, packed.astype(np.int64), True, axis=-1)
        return found[..., : self.patches]
