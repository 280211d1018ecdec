"""The exact scan: FAISS over the fused vectors of every photo, with a bound that proves the answer.

With f_j = g + l_j the two-stream score is a weighted mean of <z, f_j> with weights that sum to one
(`scoring`), so no photo can score above its best <z, f_j>. FAISS returns the v best vectors of all;
whoever is not among them scores at most the last one's value. When the k-th best exact score
reaches that bound, the k best are proven; else the caller asks for more vectors. Blocks are
searched in parallel, one thread each.

Vectors and the label stand here as int8, one step per block and one for the label, because FAISS
multiplies bytes as fast as memory gives them; the bound carries the largest coding error. The scan
is derived from segments, lives in memory, and is never the truth. It reads every byte of
every fused vector for a query; candidate generations that read less have their place beside it.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial

import faiss
import numpy as np
from numpy.typing import NDArray

from mkt_search.types import Vector

Slots = NDArray[np.int64]
PHOTOS_AT_ONCE = 64  # decoded together: their float32 vectors stay in the processor's cache
LEVELS = 127
SIGN = 128  # FAISS codes -128..127 as 0..255
MOST_THREADS = 4  # for one query; memory gives its bytes no faster to more
LEAST = 1_024  # photos in a block; fewer are not worth a thread
SPARE = 1.5  # the best vectors do not fall on the blocks in equal parts
WIDTH = 16  # its byte kernel wants multiples of this; with whole numbers in the query it is exact


@dataclass(frozen=True)
class Candidates:
    """Photos worth scoring exactly, most promising first.

    No photo scores above its number in `upper` (n,), and none outside scores above `bound` (-inf:
    there is none outside).
    """

    slots: Slots
    upper: Vector
    bound: float


@dataclass
class Block:
    """Fused vectors of consecutive slots; m vectors a photo."""

    index: faiss.IndexScalarQuantizer
    first: int
    m: int
    step: float
    error: float  # the longest difference between a vector and its code
    longest: float  # the length of the longest vector

    @property
    def photos(self) -> int:
        """How many photos it holds."""
        return int(self.index.ntotal) // self.m


class Scan:
    """Fused vectors of all photos of a library in slots 0..n-1, in the order they were added."""

    def __init__(self, dim: int, *, threads: int | None = None) -> None:
        self.dim = dim
        self.threads = threads or min(os.cpu_count() or 1, MOST_THREADS)
        self.blocks: list[Block] = []
        self.photos = 0
        one_each = partial(faiss.omp_set_num_threads, 1)  # FAISS would start threads of its own
        self._workers = ThreadPoolExecutor(self.threads, "scan", initializer=one_each)

    def copy(self) -> "Scan":
        """Return a scan of the same photos that more can be added to; the two share blocks."""
        scan = copy(self)
        scan.blocks = list(self.blocks)
        return scan

    def add(self, vectors: Iterable[Vector], *, photos: int, peak: float) -> None:
        """Append photos, as a block for every thread if they are many.

        Args:
            vectors: arrays (n, 1 + m, D) of global and local vectors, in any number of pieces.
            photos: how many there will be.
            peak: no magnitude in g + l is larger; known from the coding steps without a look at
                the vectors, so that they pass through memory once and in small pieces.
        """
        share = max(-(-photos // self.threads), LEAST)
        blocks: list[Block] = []
        end = self.photos
        for piece in (part for array in vectors for part in _pieces(array)):
            if not blocks or blocks[-1].photos >= share:
                blocks.append(self._block(end, peak))
            _append(blocks[-1], fuse(piece))
            end += len(piece)
        self.blocks += blocks  # only now: a Ctrl-C on the way leaves the scan as it was
        self.photos = end

    def _block(self, first: int, peak: float) -> Block:
        index = faiss.IndexScalarQuantizer(
            -(-self.dim // WIDTH) * WIDTH,
            faiss.ScalarQuantizer.QT_8bit_direct_signed,
            faiss.METRIC_INNER_PRODUCT,
        )
        return Block(index, first, 1, (peak or 1.0) / LEVELS, 0.0, 0.0)

    def candidates(self, label: Vector, *, vectors: int, live: NDArray[np.bool_]) -> Candidates:
        """Return live photos that own about the best `vectors` fused vectors for a label (D,)."""
        nothing = Candidates(np.empty(0, np.int64), np.empty(0, np.float32), -np.inf)
        share = vectors if len(self.blocks) < 2 else int(vectors * SPARE / len(self.blocks)) + 1
        search = partial(_search, label=label, vectors=share, live=live)
        others = self._workers.map(
            search, self.blocks[1:]
        )  # at work while this thread does the first
        found = [nothing, *map(search, self.blocks[:1]), *others]
        slots = np.concatenate([part.slots for part in found])
        upper = np.concatenate([part.upper for part in found])
        order = np.argsort(-upper, kind="stable")
        return Candidates(slots[order], upper[order], max(part.bound for part in found))

    @property
    def bytes(self) -> int:
        """Bytes a query reads."""
        return sum(block.index.ntotal * block.index.code_size for block in self.blocks)


def fuse(vectors: Vector) -> Vector:
    """Return f_j = g + l_j: (n, 1 + m, D) -> (n, m, D); without local vectors f is g alone."""
    if vectors.shape[1] == 1:
        return vectors
    return vectors[:, :1] + vectors[:, 1:]


def _pieces(array: Vector) -> Iterable[Vector]:
    return (array[i : i + PHOTOS_AT_ONCE] for i in range(0, len(array), PHOTOS_AT_ONCE))


def _append(block: Block, fused: Vector) -> None:
    """Code fused vectors (n, m, D) into a block and note what the coding loses."""
    block.m = fused.shape[1]
    flat = fused.reshape(-1, fused.shape[-1])
    codes = np.rint(flat / np.float32(block.step))
    block.error = max(block.error, _longest(flat - codes * np.float32(block.step)))
    block.longest = max(block.longest, _longest(flat))
    block.index.add_sa_codes((_padded(codes, block.index.d) + SIGN).astype(np.uint8))


def _longest(vectors: Vector) -> float:
    return float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors).max(initial=0)))


def _padded(vectors: Vector, width: int) -> Vector:
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))


def _search(block: Block, label: Vector, vectors: int, live: NDArray[np.bool_]) -> Candidates:
    vectors = min(vectors, block.index.ntotal)
    alive = live[block.first : block.first + block.photos]
    parameters = None
    if not alive.all():
        bits = np.packbits(np.repeat(alive, block.m), bitorder="little")
        selector = faiss.IDSelectorBitmap(block.index.ntotal, faiss.swig_ptr(bits))
        parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
    step = float(np.abs(label).max(initial=0)) / LEVELS or 1.0
    whole = np.rint(label / np.float32(step))
    query = _padded(whole[None], block.index.d).astype(np.float32)
    values, ids = block.index.search(query, vectors, params=parameters)
    lost = float(np.linalg.norm(label - whole * np.float32(step)))
    slack = float(np.linalg.norm(label)) * block.error + lost * (block.longest + block.error)
    upper = values[0] * np.float32(step * block.step) + np.float32(slack)
    owners, first = np.unique(ids[0] // block.m, return_index=True)  # the first is its best vector
    here = owners >= 0  # FAISS fills up with -1 where fewer are allowed
    is_all = vectors == block.index.ntotal or bool((ids[0] < 0).any())
    bound = -np.inf if is_all else float(upper[-1])
    return Candidates(owners[here] + block.first, upper[first[here]], bound)
