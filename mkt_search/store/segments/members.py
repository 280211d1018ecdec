"""The patches that each local vector is the mean of, packed as a segment keeps them.

A set of P patches is stored as bits, ceil(P / 8) bytes a set. If all sets are small, they are lists
of patch numbers instead, a byte each: 18 of 196 patches take 18 bytes, not 25. Where some photo has
several views, a byte for each set says which of them its patches are of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.store.segments.files import Bytes

Rows = NDArray[np.int64] | slice
Packing = Literal["members", "lists"]
"""Bits or lists, by the name of the array in a segment file."""

NO_PATCH = 255  # fills up a list, so lists need at most this many patches
BITS_PER_BYTE = 8


@dataclass(frozen=True)
class Members:
    """The sets of n photos with m local vectors each.

    `packed` (n, m, w) uint8 holds the bits of P patches, or up to w patch numbers in rising order.
    `views` (n, m) uint8 is the view of the photo that each set is of; 0 unless it has several.
    """

    packed: Bytes
    form: Packing
    patches: int
    views: Bytes

    @classmethod
    def pack(cls, sets: NDArray[np.bool_], patches: int) -> "Members":
        """Pack sets in the form that takes fewer bytes; bits if both take as many.

        Args:
            sets: (n, m, P), or (n, m, V P) if a photo has V views; each set is of one view.
            patches: P.
        """
        n, m, all_patches = sets.shape
        by_view = sets.reshape(n, m, all_patches // patches, patches)
        views = by_view.any(axis=3).argmax(axis=2).astype(np.uint8)
        return cls._pack(np.logical_or.reduce(by_view, axis=2), views)

    @classmethod
    def _pack(cls, sets: NDArray[np.bool_], views: Bytes) -> "Members":
        patches, counts = sets.shape[-1], sets.sum(axis=-1)  # (n, m)
        most = int(counts.max(initial=0))
        if patches > NO_PATCH or not 0 < most < -(-patches // BITS_PER_BYTE):
            return cls(np.packbits(sets, axis=-1), "members", patches, views)
        lists = np.full((*counts.shape, most), NO_PATCH, np.uint8)  # (n, m, most)
        lists[np.arange(most) < counts[..., None]] = np.flatnonzero(sets) % patches
        return cls(lists, "lists", patches, views)

    @classmethod
    def joined(cls, parts: Sequence["Members"]) -> "Members":
        """Concatenate the sets of several segments of one encoding."""
        views = np.concatenate([part.views for part in parts])
        if len({(part.form, part.packed.shape[1:]) for part in parts}) == 1:
            packed = np.concatenate([part.packed for part in parts])
            return cls(packed, parts[0].form, parts[0].patches, views)
        sets = [part._sets_of_view(slice(None)) for part in parts]
        return cls._pack(np.concatenate(sets), views)

    @property
    def m(self) -> int:
        """Local vectors of a photo."""
        return int(self.packed.shape[1])

    def of(self, rows: Rows) -> "Members":
        """Return the sets of some photos."""
        return Members(self.packed[rows], self.form, self.patches, self.views[rows])

    def counts(self, rows: Rows) -> NDArray[np.int64]:
        """Count the patches of every set of some photos: (r, m)."""
        packed = self.packed[rows]  # (r, m, w)
        each = packed != NO_PATCH if self.form == "lists" else np.bitwise_count(packed)
        counts: NDArray[np.int64] = each.sum(axis=-1, dtype=np.int64)
        return counts

    def sets(self, rows: Rows) -> NDArray[np.bool_]:
        """Undo `pack` for some photos: (r, m, V P), for as many views as they have."""
        sets, views = self._sets_of_view(rows), self.views[rows]  # (r, m, P), (r, m)
        is_of = views[..., None] == np.arange(1 + int(views.max(initial=0)))  # (r, m, V)
        if is_of.shape[2] == 1:
            return sets
        by_view: NDArray[np.bool_] = is_of[..., None] & sets[:, :, None]  # (r, m, V, P)
        return by_view.reshape(*views.shape, -1)

    def _sets_of_view(self, rows: Rows) -> NDArray[np.bool_]:
        packed = self.packed[rows]  # (r, m, w)
        if self.form == "members":
            return np.unpackbits(packed, axis=-1, count=self.patches).view(np.bool_)
        found = np.zeros((*packed.shape[:-1], NO_PATCH + 1), np.bool_)
        np.put_along_axis(found, packed.astype(np.int64), True, axis=-1)
        return found[..., : self.patches]
