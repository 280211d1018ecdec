"""A sketch of every photo: 4-bit product-quantised fused vectors, scanned whole for candidates.

With f_j = g + l_j the two-stream score is at most the best <z, f_j> (`scan`), so the photos that
own the best f_j are the candidates, and they are scored exactly afterwards. Eight numbers of a
vector are four bits here, so a photo of 16 local vectors of 512 numbers takes 512 bytes and its
ids, and a scan reads a sixteenth of what the exact one reads. Vectors are rotated at random
first, which spreads what they hold evenly over the subvectors. Ids are those of contents, which
keep their vectors for ever: files may be merged and photos come and go beside a sketch, and no
number in it becomes wrong.
"""

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.types import Vector

Ids = NDArray[np.int64]

WIDTH = 8  # numbers that share a code of four bits; with 4, codes cost more than the vectors saved


@dataclass(frozen=True)
class Sketch:
    """A trained FAISS index of fused vectors behind a rotation."""

    index: Any

    @classmethod
    def train(cls, fused: Vector) -> "Sketch":
        """Learn the codebooks from some fused vectors (n, D); the sketch is empty."""
        dim = fused.shape[1]
        width = -(-dim // (2 * WIDTH)) * 2 * WIDTH
        index = faiss.index_factory(
            dim, f"RR{width},IVF1,PQ{width // WIDTH}x4fs", faiss.METRIC_INNER_PRODUCT
        )
        index.train(np.ascontiguousarray(fused))
        return cls(index)

    def add(self, fused: Vector, contents: Ids, is_real: NDArray[np.bool_]) -> None:
        """Add photos (n, m, D) under their contents (n,); `is_real` (n, m) leaves padding out."""
        ids = np.repeat(contents, is_real.sum(axis=1))
        self.index.add_with_ids(np.ascontiguousarray(fused[is_real]), ids)

    def contents(self) -> Ids:
        """Return the contents in the sketch, in the order they were added."""
        lists = _lists(self.index)
        size = lists.invlists.list_size(0)
        if not size:
            return np.empty(0, np.int64)
        ids = faiss.rev_swig_ptr(lists.invlists.get_ids(0), size)
        found: Ids = ids[np.diff(ids, prepend=-1) != 0]  # the vectors of a photo stand together
        return found

    def candidates(
        self, label: Vector, vectors: int, *, least: int = 0, allowed: Ids | None = None
    ) -> Ids:
        """Return the contents that own the best vectors for a label, in the order of their ids.

        Args:
            label: its vector (D,).
            vectors: how many best ones; a content owns about two of them.
            least: contents wanted at least, by more vectors where these have fewer owners.
            allowed: none but these contents; None allows all.
        """
        total = int(self.index.ntotal)
        if not total or (allowed is not None and not len(allowed)):
            return np.empty(0, np.int64)
        parameters = faiss.SearchParametersIVF(nprobe=1)  # type: ignore[call-arg]
        if allowed is not None:
            bits = np.packbits(_marked(allowed), bitorder="little")
            selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
            parameters = faiss.SearchParametersIVF(nprobe=1, sel=selector)  # type: ignore[call-arg]
        whole: Any = faiss.downcast_index(self.index)
        turned = faiss.downcast_VectorTransform(whole.chain.at(0)).apply(label[None])
        while True:
            vectors = min(vectors, total)
            found = _lists(self.index).search(turned, vectors, params=parameters)[1][0]
            contents: Ids = np.unique(found[found >= 0])
            if len(contents) >= least or vectors == total or found[-1] < 0:
                return contents
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
    def load(cls, data: NDArray[np.uint8], dim: int) -> "Sketch":
        """Undo `dump`. Raises LibraryDamaged when the bytes are no sketch of vectors of `dim`."""
        try:
            index = faiss.deserialize_index(data)
            _lists(index).invlists.list_size(0)
        except (RuntimeError, AttributeError) as error:
            raise LibraryDamaged(f"cannot be read ({str(error).splitlines()[-1]})") from error
        if index.d != dim:
            raise LibraryDamaged(f"is of vectors of {index.d} numbers, not {dim}")
        return cls(index)


def _lists(index: Any) -> Any:
    """Return the inverted lists behind the rotation: a view, which lives as long as the index."""
    whole: Any = faiss.downcast_index(index)
    return faiss.downcast_index(whole.index)


def _marked(contents: Ids) -> NDArray[np.bool_]:
    marked = np.zeros(int(contents.max()) + 1, np.bool_)
    marked[contents] = True
    return marked
