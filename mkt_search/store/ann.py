"""A sketch of every photo: 4-bit product-quantised fused vectors, scanned whole for candidates.

With f_j = g + l_j the two-stream score is at most the best <z, f_j> (`scan`), so the photos that
own the best f_j are the candidates (`shortlist` chooses among them). Eight numbers of a vector
are four bits here, so a photo of 16 local vectors of 512 numbers takes 512 bytes and its ids, and a
scan reads a sixteenth of what the exact one reads. Vectors are rotated at random first, which
spreads what they hold evenly over the subvectors. An id is made of the content, which keeps its
vectors for ever, and of which of its vectors it is: files may be merged and photos come and go
beside a sketch, and no number in it becomes wrong.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.types import Vector

Ids = NDArray[np.int64]

WIDTH = 8  # numbers that share a code of four bits; with 4, codes cost more than the vectors saved
BYTE = 8  # bits; the ids of a content begin at a multiple, so that a bitmap of them is whole bytes


@dataclass(frozen=True)
class Sketch:
    """A trained FAISS index of fused vectors behind a rotation; at most `m` a photo."""

    index: Any
    m: int

    @classmethod
    def train(cls, fused: Vector, m: int) -> "Sketch":
        """Learn the codebooks from some fused vectors (n, D); the sketch is empty."""
        dim = fused.shape[1]
        width = -(-dim // (2 * WIDTH)) * 2 * WIDTH
        index = faiss.index_factory(
            dim, f"RR{width},IVF1,PQ{width // WIDTH}x4fs", faiss.METRIC_INNER_PRODUCT
        )
        index.train(np.ascontiguousarray(fused))
        return cls(index, m)

    @property
    def _stride(self) -> int:
        return -(-self.m // BYTE) * BYTE

    def add(self, fused: Vector, contents: Ids, is_real: NDArray[np.bool_]) -> None:
        """Add photos (n, m, D) under their contents (n,); `is_real` (n, m) leaves padding out."""
        ids = contents[:, None] * self._stride + np.arange(self.m)
        self.index.add_with_ids(np.ascontiguousarray(fused[is_real]), ids[is_real])

    @cached_property
    def contents(self) -> Ids:
        """The contents in the sketch, in the order they were added; ask once all are in."""
        lists = _lists(self.index)
        size = lists.invlists.list_size(0)
        if not size:
            return np.empty(0, np.int64)
        owners: Ids = faiss.rev_swig_ptr(lists.invlists.get_ids(0), size) // self._stride
        found: Ids = owners[np.diff(owners, prepend=-1) != 0]  # those of a photo stand together
        return found

    def nearest(
        self, labels: Vector, vectors: int, *, owners: int = 0, allowed: Ids | None = None
    ) -> list[tuple[Ids, Ids]]:
        """Return the best vectors for each label: (v,) contents that own them, (v,) which of its.

        They come in the order of contents; a content owns about two of them. Labels asked together
        take less time than one after another, for the codes are read once.

        Args:
            labels: their vectors (d, D).
            vectors: how many for each.
            owners: contents wanted at least for each, by more vectors where these have fewer.
            allowed: none but the vectors of these contents; None allows all.
        """
        total = int(self.index.ntotal)
        if not total or (allowed is not None and not len(allowed)):
            nothing = np.empty(0, np.int64)
            return [(nothing, nothing) for _ in labels]
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
            found = [np.sort(row[row >= 0]) for row in rows]
            parted = [np.divmod(ids, self._stride) for ids in found]
            fewest = min(np.count_nonzero(np.diff(of, prepend=-1)) for of, _ in parted)
            if fewest >= owners or vectors == total or len(found[0]) < vectors:
                return parted
            vectors *= 2

    @property
    def bytes(self) -> int:
        """Bytes of memory: codes and ids of every vector."""
        return int(self.index.ntotal) * (int(_lists(self.index).code_size) + 8)

    def dump(self) -> NDArray[np.uint8]:
        """Return the sketch as bytes, for `load`."""
        data: NDArray[np.uint8] = faiss.serialize_index(self.index)
        return data

    @classmethod
    def load(cls, data: NDArray[np.uint8], dim: int, m: int) -> "Sketch":
        """Undo `dump`. Raises LibraryDamaged when the bytes are no sketch of vectors of `dim`."""
        try:
            index = faiss.deserialize_index(data)
            _lists(index).invlists.list_size(0)
        except (RuntimeError, AttributeError) as error:
            raise LibraryDamaged(f"cannot be read ({str(error).splitlines()[-1]})") from error
        if index.d != dim:
            raise LibraryDamaged(f"is of vectors of {index.d} numbers, not {dim}")
        return cls(index, m)


def _lists(index: Any) -> Any:
    """Return the inverted lists behind the rotation: a view, which lives as long as the index."""
    whole: Any = faiss.downcast_index(index)
    return faiss.downcast_index(whole.index)


def _marked(contents: Ids) -> NDArray[np.uint8]:
    """Return a byte for every content up to the largest, all its bits set for these."""
    marked = np.zeros(int(contents.max()) + 1, np.uint8)
    marked[contents] = 0xFF
    return marked
