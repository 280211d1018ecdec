"""A sketch of every photo: 4-bit product-quantised fused vectors, scanned whole for candidates.

With f_j = g + l_j the two-stream score is at most the best <z, f_j> (`scan`), so the photos that
own the best f_j are the candidates (`shortlist` chooses among them). Eight numbers of a vector
are four bits here, so a photo of 16 local vectors of 512 numbers takes 512 bytes and its ids, and a
scan reads a sixteenth of what the exact one reads. Vectors are rotated at random first, which
spreads what they hold evenly over the subvectors. An id is made of the content, which keeps its
vectors for ever, and of which of its vectors it is: files may be merged and photos come and go
beside a sketch, and no number in it becomes wrong.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.store.ann.run_lengths import fold, unfold
from mkt_search.store.segments.files import Bytes
from mkt_search.types import Vector

Ids = NDArray[np.int64]

WIDTH = 8  # numbers that share a code of four bits; with 4, codes cost more than the vectors saved
ONWARD = (1,)  # from a content to the next
AT_ONCE = 1 << 14  # contents whose ids are made together
BYTE = 8  # bits; the ids of a content begin at a multiple, so that a bitmap of them is whole bytes


class Nearest(NamedTuple):
    """Vectors (v,), by content: the contents that own them, and which of its vectors each is."""

    contents: Ids
    which: Ids


class Ranked(NamedTuple):
    """The same, and how many vectors are better than each."""

    contents: Ids
    which: Ids
    ranks: Ids


class PQIndex:
    """A trained FAISS index of fused vectors behind a rotation; at most `m` a photo."""

    def __init__(self, empty: Bytes, m: int) -> None:
        """Take a trained index to which no vector was added, as FAISS writes it."""
        self.index: Any = faiss.deserialize_index(empty)
        self.m = m
        self._empty = np.array(empty)  # a copy: a view would keep the whole file it is of
        self._contents: list[Ids] = [np.empty(0, np.int64)]
        self._is_real: list[Bytes] = [np.empty((0, -(-m // BYTE)), np.uint8)]  # bits

    @classmethod
    def train(cls, fused: Vector, m: int) -> "PQIndex":
        """Learn the codebooks from some fused vectors (n, D); the sketch is empty."""
        dim = fused.shape[1]
        width = -(-dim // (2 * WIDTH)) * 2 * WIDTH
        index = faiss.index_factory(
            dim, f"RR{width},IVF1,PQ{width // WIDTH}x4fs", faiss.METRIC_INNER_PRODUCT
        )
        index.train(np.ascontiguousarray(fused))
        return cls(faiss.serialize_index(index), m)

    @property
    def _stride(self) -> int:
        return -(-self.m // BYTE) * BYTE

    def add(self, fused: Vector, contents: Ids, is_real: NDArray[np.bool_]) -> None:
        """Add photos (n, m, D) under their contents (n,); `is_real` (n, m) leaves padding out."""
        ids = contents[:, None] * self._stride + np.arange(self.m)
        self.index.add_with_ids(np.ascontiguousarray(fused[is_real]), ids[is_real])
        self._contents.append(contents)
        self._is_real.append(np.packbits(is_real, axis=1))

    @property
    def contents(self) -> Ids:
        """The contents in the sketch, in the order they were added."""
        if len(self._contents) > 1:
            self._contents = [np.concatenate(self._contents)]
        return self._contents[0]

    def nearest(
        self, labels: Vector, vectors: int, *, owners: int = 0, allowed: Ids | None = None
    ) -> list[Nearest]:
        """Return the best vectors for each label, by content; a content owns about two of them.

        Labels asked together take less time than one after another: the codes are read once.

        Args:
            labels: their vectors (d, D).
            vectors: how many for each.
            owners: contents wanted at least for each, by more vectors where these have fewer.
            allowed: none but the vectors of these contents; None allows all.
        """
        found = self._best(labels, vectors, owners=owners, allowed=allowed)
        return [Nearest(*np.divmod(np.sort(ids), self._stride)) for ids in found]

    def ranked(self, labels: Vector, vectors: int, *, owners: int = 0) -> list[Ranked]:
        """Return what `nearest` does, and the ranks: what it would return for fewer vectors."""
        found = self._best(labels, vectors, owners=owners)
        orders = [np.argsort(ids) for ids in found]
        return [
            Ranked(*np.divmod(ids[order], self._stride), order)
            for ids, order in zip(found, orders, strict=True)
        ]

    def _best(
        self, labels: Vector, vectors: int, *, owners: int, allowed: Ids | None = None
    ) -> list[Ids]:
        """Return the ids of the best vectors for each label, best first."""
        total = int(self.index.ntotal)
        if not total or (allowed is not None and not len(allowed)):
            return [np.empty(0, np.int64) for _ in labels]
        parameters = faiss.SearchParametersIVF(nprobe=1)  # type: ignore[call-arg]
        if allowed is not None:
            bits = np.repeat(_marked(allowed), self._stride // BYTE)
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters = faiss.SearchParametersIVF(nprobe=1, sel=selector)  # type: ignore[call-arg]
        whole: Any = faiss.downcast_index(self.index)
        turned = faiss.downcast_VectorTransform(whole.chain.at(0)).apply(labels)
        while True:
            vectors = min(vectors, total)
            rows = _lists(self.index).search(turned, vectors, params=parameters)[1]
            found = [row[row >= 0] for row in rows]
            fewest = min(self._owners(np.sort(ids)) for ids in found) if owners else 0
            if fewest >= owners or vectors == total or len(found[0]) < vectors:
                return found
            vectors *= 2

    def _owners(self, ids: Ids) -> int:
        """Count the contents that own vectors of rising ids."""
        return int(np.count_nonzero(np.diff(ids // self._stride, prepend=-1)))

    @property
    def nbytes(self) -> int:
        """Bytes of memory: codes and ids of every vector."""
        return int(self.index.ntotal) * (int(_lists(self.index).code_size) + 8)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all there is of the sketch, for `of_arrays`.

        These are the codes and, instead of ids, what those are made of: the contents, and which
        vectors of each are real.
        """
        return {
            "empty": self._empty,
            "contents": fold(self.contents[:, None], ONWARD),
            "is_real": np.concatenate(self._is_real),
            "codes": _codes(self.index),
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], dim: int, m: int) -> "PQIndex":
        """Undo `arrays`. Raises LibraryDamaged when they are no sketch of vectors of `dim`."""
        try:
            sketch = cls(arrays["empty"], m)
            contents = unfold(arrays["contents"], ONWARD)[:, 0]
            sketch._fill(contents, arrays["is_real"], arrays["codes"])
        except (RuntimeError, AttributeError, ValueError, LookupError) as error:
            raise LibraryDamaged(f"cannot be read ({str(error).splitlines()[-1]})") from error
        if sketch.index.d != dim:
            raise LibraryDamaged(f"is of vectors of {sketch.index.d} numbers, not {dim}")
        return sketch

    def _fill(self, contents: Ids, bits: Bytes, codes: Bytes) -> None:
        """Put the vectors of contents into the empty index as they are coded.

        Nothing is made of all ids beside the index's own memory: taking new memory is slow.
        """
        lists, size = _lists(self.index), int(np.bitwise_count(bits).sum())
        lists.invlists.resize(0, size)
        self.index.ntotal = lists.ntotal = size
        self._contents, self._is_real = [contents], [np.array(bits)]
        if size:
            _codes(self.index)[:] = codes
        ids, done = _ids(self.index), 0
        for first in range(0, len(contents), AT_ONCE):
            few = slice(first, first + AT_ONCE)
            is_real = np.unpackbits(bits[few], axis=1, count=self.m).view(np.bool_)
            made = (contents[few, None] * self._stride + np.arange(self.m))[is_real]
            ids[done : done + len(made)] = made
            done += len(made)


def _lists(index: Any) -> Any:
    """Return the inverted lists behind the rotation: a view, which lives as long as the index."""
    whole: Any = faiss.downcast_index(index)
    return faiss.downcast_index(whole.index)


class _Held:
    """An array over memory of an index, which lives as long as the array."""

    def __init__(self, index: Any, array: NDArray[Any]) -> None:
        self.index = index
        self.__array_interface__ = array.__array_interface__


def _ids(index: Any) -> Ids:
    """Return the ids of the vectors (v,): a view."""
    lists = _lists(index).invlists
    size = lists.list_size(0)
    if not size:
        return np.empty(0, np.int64)
    return np.asarray(_Held(index, faiss.rev_swig_ptr(lists.get_ids(0), size)))


def _codes(index: Any) -> Bytes:
    """Return the codes of all vectors in FAISS's blocks, the last one filled up: a view."""
    lists: Any = faiss.downcast_InvertedLists(_lists(index).invlists)
    blocks = -(-lists.list_size(0) // lists.n_per_block)
    size = blocks * lists.block_size
    if not size:
        return np.empty(0, np.uint8)
    return np.asarray(_Held(index, faiss.rev_swig_ptr(lists.get_codes(0), size)))


def _marked(contents: Ids) -> Bytes:
    """Return a byte for every content up to the largest, all its bits set for these."""
    marked = np.zeros(int(contents.max()) + 1, np.uint8)
    marked[contents] = 0xFF
    return marked
