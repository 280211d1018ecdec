"""The exact scan: the fused vectors of every photo in memory, with a bound that proves the answer.

With f_j = g + l_j the two-stream score is a weighted mean of <z, f_j> with weights that sum to one
(`scoring`), so no photo scores above its best <z, f_j>. FAISS returns the v best vectors of all; a
photo that owns none of them scores at most the value of the last one. If the k-th best exact score
reaches that bound, the k best are proven; else the caller asks for more vectors.

Vectors and the label are coded as int8, with one step for a block and one for the label, because
FAISS multiplies bytes as fast as memory delivers them; the bound includes the largest coding error.
Blocks are searched in parallel, one thread each. The scan is derived from segments and kept only in
memory. A query reads every byte of it.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector

Rows = NDArray[np.int64]

PHOTOS_PER_CODING = 64  # whose float32 vectors stay in the processor's cache
MAX_CODE = 127
SIGN_OFFSET = 128  # FAISS codes -128..127 as 0..255
MAX_THREADS = 4  # for one query; more do not get bytes from memory any faster
MIN_PHOTOS_PER_BLOCK = 1_024  # fewer do not pay for a thread
BLOCK_SHARE_MARGIN = 1.5  # the best vectors are not spread evenly over the blocks
WIDTH_MULTIPLE = 16  # of FAISS's byte kernel, which is exact for queries of whole numbers


class BoundedRows(NamedTuple):
    """Rows with bounds on their scores, most promising first.

    No photo scores above its entry in `upper` (n,), and none left out scores above `bound` (-inf:
    none is left out).
    """

    rows: Rows
    upper: Vector
    bound: float


@dataclass
class Block:
    """Fused vectors of consecutive rows, m a photo.

    `error` is the longest difference between a vector and its code, `longest` the length of the
    longest vector.
    """

    index: faiss.IndexScalarQuantizer
    first: int
    m: int
    step: float
    error: float
    longest: float

    @property
    def photos(self) -> int:
        """The number of photos."""
        return int(self.index.ntotal) // self.m


class Scan:
    """Fused vectors of photos in rows 0 to n - 1, in the order they were added."""

    def __init__(self, dim: int, *, threads: int | None = None) -> None:
        self.dim = dim
        self.threads = threads or min(os.cpu_count() or 1, MAX_THREADS)
        self.blocks: list[Block] = []
        self.photos = 0
        one_each = partial(faiss.omp_set_num_threads, 1)  # FAISS would start threads of its own
        self._workers = ThreadPoolExecutor(self.threads, "scan", initializer=one_each)

    def copy(self) -> "Scan":
        """Return a scan of the same photos that more can be added to; both share the blocks."""
        scan = copy(self)
        scan.blocks = list(self.blocks)
        return scan

    def add(self, vectors: Iterable[Vector], *, photos: int, peak: float) -> None:
        """Append photos, in a block for every thread if there are many.

        Args:
            vectors: arrays (n, 1 + m, D) of global and local vectors, in any number of pieces.
            photos: the sum of their n.
            peak: an upper bound of all magnitudes in g + l. It is known from the coding steps, so
                the vectors pass through memory once, in small pieces.
        """
        photos_per_block = max(-(-photos // self.threads), MIN_PHOTOS_PER_BLOCK)
        blocks: list[Block] = []
        end = self.photos
        for piece in (part for array in vectors for part in _pieces(array)):
            if not blocks or blocks[-1].photos >= photos_per_block:
                blocks.append(self._block(end, peak))
            _append(blocks[-1], fuse(piece))
            end += len(piece)
        self.blocks += blocks  # only now: an interrupt on the way leaves the scan as it was
        self.photos = end

    def _block(self, first: int, peak: float) -> Block:
        index = faiss.IndexScalarQuantizer(
            -(-self.dim // WIDTH_MULTIPLE) * WIDTH_MULTIPLE,
            faiss.ScalarQuantizer.QT_8bit_direct_signed,
            faiss.METRIC_INNER_PRODUCT,
        )
        return Block(index, first, 1, (peak or 1.0) / MAX_CODE, 0.0, 0.0)

    def best(self, label: Vector, *, vectors: int, is_allowed: NDArray[np.bool_]) -> BoundedRows:
        """Return the photos that own about the best `vectors` fused vectors for a label (D,).

        Args:
            label: (D,).
            vectors: how many of the best vectors count.
            is_allowed: (n,), which rows to choose from.
        """
        nothing = BoundedRows(np.empty(0, np.int64), np.empty(0, np.float32), -np.inf)
        if len(self.blocks) > 1:
            vectors = int(vectors * BLOCK_SHARE_MARGIN / len(self.blocks)) + 1
        search = partial(_search, label=label, vectors=vectors, is_allowed=is_allowed)
        others = self._workers.map(search, self.blocks[1:])  # while this thread does the first
        found = [nothing, *map(search, self.blocks[:1]), *others]
        rows = np.concatenate([part.rows for part in found])
        upper = np.concatenate([part.upper for part in found])
        order = np.argsort(-upper, kind="stable")
        return BoundedRows(rows[order], upper[order], max(part.bound for part in found))

    @property
    def nbytes(self) -> int:
        """Bytes a query reads."""
        return sum(block.index.ntotal * block.index.code_size for block in self.blocks)


def fuse(vectors: Vector) -> Vector:
    """Return f_j = g + l_j: (n, 1 + m, D) -> (n, m, D); without local vectors f is g alone."""
    if vectors.shape[1] == 1:
        return vectors
    return vectors[:, :1] + vectors[:, 1:]


def _pieces(array: Vector) -> Iterable[Vector]:
    return (array[i : i + PHOTOS_PER_CODING] for i in range(0, len(array), PHOTOS_PER_CODING))


def _append(block: Block, fused: Vector) -> None:
    """Code fused vectors (n, m, D) into a block and record what the coding loses."""
    block.m = fused.shape[1]
    flat = fused.reshape(-1, fused.shape[-1])  # (n m, D)
    codes = np.rint(flat / np.float32(block.step))  # (n m, D), whole numbers up to MAX_CODE
    block.error = max(block.error, _longest(flat - codes * np.float32(block.step)))
    block.longest = max(block.longest, _longest(flat))
    block.index.add_sa_codes((_padded(codes, block.index.d) + SIGN_OFFSET).astype(np.uint8))


def _longest(vectors: Vector) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0)))


def _padded(vectors: Vector, width: int) -> Vector:
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))


def _search(
    block: Block, label: Vector, vectors: int, is_allowed: NDArray[np.bool_]
) -> BoundedRows:
    vectors = min(vectors, block.index.ntotal)
    allowed = is_allowed[block.first : block.first + block.photos]  # (photos,)
    parameters = None
    if not allowed.all():
        bits = np.packbits(np.repeat(allowed, block.m), bitorder="little")
        selector = faiss.IDSelectorBitmap(block.index.ntotal, faiss.swig_ptr(bits))
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    step = float(np.abs(label).max(initial=0)) / MAX_CODE or 1.0
    whole = np.rint(label / np.float32(step))  # (D,)
    query = _padded(whole[None], block.index.d).astype(np.float32)  # (1, D')
    values, ids = block.index.search(query, vectors, params=parameters)  # (1, v) each
    # <z, f> differs from the product of the codes by at most |z| |f - code| + |z - code| |code|
    lost = float(np.linalg.norm(label - whole * np.float32(step)))
    slack = float(np.linalg.norm(label)) * block.error + lost * (block.longest + block.error)
    upper = values[0] * np.float32(step * block.step) + np.float32(slack)  # (v,), falling
    owners, first = np.unique(ids[0] // block.m, return_index=True)  # each owner's best vector
    is_real = owners >= 0  # FAISS fills up with -1 if fewer are allowed
    is_all = vectors == block.index.ntotal or bool((ids[0] < 0).any())
    bound = -np.inf if is_all else float(upper[-1])
    return BoundedRows(owners[is_real] + block.first, upper[first[is_real]], bound)
