"""A FAISS index of 4-bit product-quantized vectors: cheap candidates for the exact score.

A photo with global vector g and local vectors l_j is indexed under the fused vectors f_j = g + l_j:
its two-stream score for a label z is at most its best <z, f_j> (`exact_scan`), so the photos that
own the best f_j are the candidates. Eight numbers of a vector are coded in four bits (PQ fast scan;
André et al., 2015 and 2017), so 16 local vectors of 512 numbers take 512 bytes and their ids, and a
search reads a sixteenth of what the exact scan reads. A random rotation in front spreads the
content of a vector evenly over the subvectors. There is one inverted list, scanned whole.

The id of a vector is content id * stride + local index. It stays right while segments are merged
and photos come and go.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann.run_lengths import decode, encode
from mkt_search.store.segments.files import Bytes
from mkt_search.types import Vector

Ids = NDArray[np.int64]

NUMBERS_PER_CODE = 8  # coded in 4 bits; with 4 numbers, codes cost more than the probes they save
ONE_ID_ON = (1,)  # run-length step: content ids count up
CONTENTS_PER_FILL = 1 << 14  # whose vector ids are made together
BITS_PER_BYTE = 8
BLOCK = 32  # vectors in a block of FAISS's fast-scan layout
# A block holds byte j of 32 vectors' codes in two runs of 16 bytes, low nibbles for the first 16
# vectors and high ones for the others, in this order (`pq4_pack_codes` of FAISS).
ORDER_IN_BLOCK = np.array([0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15])


class OwnedVectors(NamedTuple):
    """Vectors (v,) as the content ids that own them, rising, and their local indices.

    `ranks` (v,) are 0 for the best vector to v - 1.
    """

    content_ids: Ids
    local_index: Ids
    ranks: Ids

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """(v,): True at the first vector of every content."""
        is_first: NDArray[np.bool_] = np.diff(self.content_ids, prepend=-1) != 0
        return is_first

    @property
    def owners(self) -> int:
        """The number of contents that own them."""
        return int(np.count_nonzero(self.is_first))

    def best(self, count: int) -> "OwnedVectors":
        """Return the best `count` of them."""
        is_kept = self.ranks < count
        return OwnedVectors(*(array[is_kept] for array in self))


Probe = Callable[[int], list[OwnedVectors]]
"""Returns so many best vectors for each of d directions; fewer if there are no more."""


class PQIndex:
    """A trained FAISS index of fused vectors; at most `m` a photo."""

    def __init__(self, empty: Bytes, m: int) -> None:
        """Take a trained index without vectors, in FAISS's serialized form."""
        self.index: Any = faiss.deserialize_index(empty)
        self.m = m
        self._empty = np.array(empty)  # a copy: a view would keep the whole file in memory
        self._content_ids: list[Ids] = [np.empty(0, np.int64)]
        self._is_real: list[Bytes] = [np.empty((0, -(-m // BITS_PER_BYTE)), np.uint8)]  # bits

    @classmethod
    def train(cls, fused: Vector, m: int) -> "PQIndex":
        """Learn codebooks from fused vectors (n, D); none of them is added."""
        dim = fused.shape[1]
        width = -(-dim // (2 * NUMBERS_PER_CODE)) * 2 * NUMBERS_PER_CODE  # codes come in pairs
        index = faiss.index_factory(
            dim, f"RR{width},IVF1,PQ{width // NUMBERS_PER_CODE}x4fs", faiss.METRIC_INNER_PRODUCT
        )
        index.train(np.ascontiguousarray(fused))
        return cls(faiss.serialize_index(index), m)

    @property
    def _stride(self) -> int:
        """Ids reserved for a content: m, rounded up so that a bitmap of ids has whole bytes."""
        return -(-self.m // BITS_PER_BYTE) * BITS_PER_BYTE

    def add(self, fused: Vector, content_ids: Ids, is_real: NDArray[np.bool_]) -> None:
        """Add photos (n, m, D) under content ids (n,); `is_real` (n, m) is False for padding."""
        ids = content_ids[:, None] * self._stride + np.arange(self.m)  # (n, m)
        self.index.add_with_ids(np.ascontiguousarray(fused[is_real]), ids[is_real])
        self._content_ids.append(content_ids)
        self._is_real.append(np.packbits(is_real, axis=1))

    def __len__(self) -> int:
        """Count the vectors."""
        return int(self.index.ntotal)

    @property
    def content_ids(self) -> Ids:
        """The contents in the index, in the order they were added."""
        if len(self._content_ids) > 1:
            self._content_ids = [np.concatenate(self._content_ids)]
        return self._content_ids[0]

    @property
    def code_bytes(self) -> int:
        """Bytes a search reads: the codes of every vector, without ids."""
        return len(self) * int(_inverted_file(self.index).code_size)

    def probe_for(self, directions: Vector, *, allowed: Ids | None = None) -> Probe:
        """Return a function that finds the best vectors for directions (d, D).

        A content owns about two of the vectors found. Directions probed together take less time
        than one after another: the codes are read once.

        Args:
            directions: (d, D).
            allowed: find only vectors of these contents; None allows all.
        """
        if not len(self) or (allowed is not None and not len(allowed)):
            nothing = np.empty(0, np.int64)
            return lambda count: [OwnedVectors(nothing, nothing, nothing) for _ in directions]
        return _Probe(self, directions, allowed)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the index as arrays, from which `of_arrays` makes it again.

        Instead of vector ids they hold what these are made of: the content ids as run lengths, and
        which vectors of each content are real.
        """
        return {
            "empty": self._empty,
            "contents": encode(self.content_ids[:, None], ONE_ID_ON),
            "is_real": np.concatenate(self._is_real),
            "codes": _codes(self.index),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], dim: int, m: int) -> "PQIndex":
        """Undo `arrays`. Raises LibraryDamaged if they are no index of vectors of `dim` numbers."""
        try:
            made = cls(arrays["empty"], m)
            content_ids = decode(arrays["contents"], ONE_ID_ON, rows=len(arrays["is_real"]))[:, 0]
            made._fill(content_ids, arrays["is_real"], arrays["codes"])
        except (RuntimeError, AttributeError, ValueError, LookupError) as error:
            raise LibraryDamaged(f"cannot be read ({str(error).splitlines()[-1]})") from error
        if made.index.d != dim:
            raise LibraryDamaged(f"is of vectors of {made.index.d} numbers, not {dim}")
        return made

    def _fill(self, content_ids: Ids, bits: Bytes, codes: Bytes) -> None:
        """Put coded vectors into the empty index; `bits` (n, bytes) marks the real ones."""
        _resize(self.index, int(np.bitwise_count(bits).sum()))
        self._content_ids, self._is_real = [content_ids], [np.array(bits)]
        if not len(self):
            return
        _codes(self.index)[:] = codes
        ids, done = _ids(self.index), 0
        for first in range(0, len(content_ids), CONTENTS_PER_FILL):  # new memory is slow to take
            few = slice(first, first + CONTENTS_PER_FILL)
            is_real = np.unpackbits(bits[few], axis=1, count=self.m).view(np.bool_)  # (n, m)
            made = (content_ids[few, None] * self._stride + np.arange(self.m))[is_real]
            ids[done : done + len(made)] = made
            done += len(made)
        check_layout(self.index)


class _Probe:
    """A search for directions (d, D) that can be repeated for other counts."""

    def __init__(self, index: PQIndex, directions: Vector, allowed: Ids | None) -> None:
        self._index, self._stride = index, index._stride
        chain: Any = faiss.downcast_index(index.index).chain  # type: ignore[attr-defined]
        self._rotated = faiss.downcast_VectorTransform(chain.at(0)).apply(directions)  # (d, D')
        self._selector = None
        if allowed is not None:
            is_allowed = np.zeros(int(allowed.max()) + 1, np.uint8)  # a byte for each content ...
            is_allowed[allowed] = 0xFF
            # ... becomes one bit for each id. FAISS keeps only a pointer to the bits.
            self._bits = np.repeat(is_allowed, self._stride // BITS_PER_BYTE)
            self._selector = faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))

    def __call__(self, count: int) -> list[OwnedVectors]:
        parameters = faiss.SearchParametersIVF(nprobe=1, sel=self._selector)  # type: ignore[call-arg]
        inverted, count = _inverted_file(self._index.index), min(count, len(self._index))
        ids = inverted.search(self._rotated, count, params=parameters)[1]  # (d, count)
        return [_owned(row[row >= 0], self._stride) for row in ids]  # -1 if `allowed` has fewer


def _owned(ids: Ids, stride: int) -> OwnedVectors:
    """Sort vector ids (v,), best first, by the contents that own them."""
    order = np.argsort(ids)
    return OwnedVectors(*np.divmod(ids[order], stride), order)


# FAISS cannot load codes and ids without a copy of both in its own file format, so the functions
# below write into the memory of its inverted list. They rely on its layout of fast-scan blocks;
# `check_layout` refuses an index if a version of FAISS has another one.


def _resize(index: Any, size: int) -> None:
    """Make room for `size` vectors in the one inverted list; their content is undefined."""
    inverted = _inverted_file(index)
    inverted.invlists.resize(0, size)
    index.ntotal = inverted.ntotal = size


def _inverted_file(index: Any) -> Any:
    """Return the IndexIVFPQFastScan behind the rotation: a view that lives as long as `index`."""
    chain: Any = faiss.downcast_index(index)
    return faiss.downcast_index(chain.index)


class _KeepAlive:
    """An array over memory of an index, which lives as long as the array."""

    def __init__(self, index: Any, array: NDArray[Any]) -> None:
        self.index = index
        self.__array_interface__ = array.__array_interface__


def _ids(index: Any) -> Ids:
    """Return the ids of the vectors (v,): a writable view."""
    lists = _inverted_file(index).invlists
    size = lists.list_size(0)
    if not size:
        return np.empty(0, np.int64)
    return np.asarray(_KeepAlive(index, faiss.rev_swig_ptr(lists.get_ids(0), size)))


def _codes(index: Any) -> Bytes:
    """Return the codes in FAISS's blocks, the last one padded: a writable view, one dimension."""
    lists: Any = faiss.downcast_InvertedLists(_inverted_file(index).invlists)
    blocks = -(-lists.list_size(0) // lists.n_per_block)
    size = blocks * lists.block_size
    if not size:
        return np.empty(0, np.uint8)
    return np.asarray(_KeepAlive(index, faiss.rev_swig_ptr(lists.get_codes(0), size)))


def check_layout(index: Any, *, order: NDArray[np.int64] = ORDER_IN_BLOCK) -> None:
    """Compare codes that FAISS unpacks with those that the `order` of a block gives.

    It looks at the whole first block and at the last vector.

    Raises:
        ValueError: they differ, so this version of FAISS lays out codes in another way.
    """
    inverted = _inverted_file(index)
    lists: Any = faiss.downcast_InvertedLists(inverted.invlists)
    packer = lists.packer
    blocks = _codes(index).reshape(-1, inverted.M2 // 2, 2, BLOCK // 2)  # (b, M / 2, 2, 16)
    last = len(_ids(index)) - 1
    for vector in {*range(min(BLOCK, last + 1)), last}:
        block, at = blocks[vector // BLOCK], vector % BLOCK
        if not np.array_equal(
            packer.unpack_1(block.reshape(1, -1), at), _code_in(block, at, order)
        ):
            raise ValueError("this version of FAISS lays out codes in another way")


def _code_in(block: Bytes, vector: int, order: NDArray[np.int64]) -> Bytes:
    """Return the code of one vector of a block (M / 2, 2, 16): (M / 2,) bytes of two codes each."""
    at = int(np.flatnonzero(order == vector % 16)[0])
    both = block[:, :, at]  # (M / 2, 2): the code in 4 bits, beside that of another vector
    code = both >> 4 if vector >= 16 else both & 15
    return (code[:, 0] | code[:, 1] << 4).astype(np.uint8)
