"""Read, hash and decode photos on worker threads while the model encodes; order is kept.

Memory is bounded: at most `ahead` loaded photos wait, each reduced to what the student wants, and
only one large photo is decoded at a time.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from indexer.walk import modified_ns
from mkt_search.errors import PhotoError
from mkt_search.photos.decode import MAX_PIXELS, Decoded, decode, read, to_views
from mkt_search.photos.formats import TooManyPixels
from mkt_search.photos.miniature import miniature
from mkt_search.types import ImageSpec, PhotoFacts, PhotoFile

LARGE_PIXELS = 50_000_000
"""A photo of more pixels is decoded alone: this many take 150 MB as RGB, on each worker."""

LARGE_BYTES = 100 * 1024**2
"""A larger file is read and decoded alone."""

CHANGED = "changed while being read"


@dataclass(frozen=True)
class Loaded:
    """A photo that was read.

    `content` is its SHA-256 in hex; `views` (V, H, W, 3) uint8, `facts` and `miniature` are None if
    its vectors are stored already. `shard_row` is its row in a shard that has its vectors.
    """

    file: PhotoFile
    content: str
    views: NDArray[np.uint8] | None
    facts: PhotoFacts | None
    miniature: bytes | None = None
    shard_row: int | None = None

    @property
    def is_only_hashed(self) -> bool:
        """True if only the bytes were read, because the library seemed to have the rest."""
        return self.views is None and self.shard_row is None


@dataclass(frozen=True)
class Failed:
    """A photo that could not be read, and why; `content` is its SHA-256 if its bytes were read."""

    file: PhotoFile
    reason: str
    content: str | None = None


def nothing_is_stored(_: str) -> bool:
    """Return False: every photo must be decoded."""
    return False


@dataclass
class Loader:
    """Loads photos for one student.

    Args:
        spec: the pixels the student wants.
        workers: threads that read and decode.
        ahead: photos that may be loaded, or being loaded, before they are needed.
        is_stored: returns whether the vectors of a SHA-256 are stored; called by the workers.
        max_pixels: photos with more pixels fail.
        large_pixels: of photos with more pixels, only one is decoded at a time.
    """

    spec: ImageSpec
    workers: int
    ahead: int
    is_stored: Callable[[str], bool] = nothing_is_stored
    max_pixels: int = MAX_PIXELS
    large_pixels: int = LARGE_PIXELS
    _large: Lock = field(default_factory=Lock, init=False, repr=False)

    def load(self, files: Iterable[PhotoFile]) -> Iterator[Loaded | Failed]:
        """Yield every file, loaded or failed, in the order given; read `files` as needed."""
        files = iter(files)
        with ThreadPoolExecutor(self.workers, thread_name_prefix="load") as pool:
            waiting: deque[Future[Loaded | Failed]] = deque()
            try:
                waiting.extend(
                    pool.submit(self.load_one, file) for file in islice(files, self.ahead)
                )
                while waiting:
                    item = waiting.popleft().result()
                    waiting.extend(pool.submit(self.load_one, file) for file in islice(files, 1))
                    yield item
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def load_one(self, file: PhotoFile) -> Loaded | Failed:
        """Read, hash and decode one photo; if its bytes are stored, only read and hash it."""
        with self._one_at_a_time(file.size > LARGE_BYTES):
            return self._load(file)

    def _load(self, file: PhotoFile) -> Loaded | Failed:
        content = None
        try:
            file, data = _read_still(file)
            content = hashlib.sha256(data).hexdigest()
            if self.is_stored(content):
                return Loaded(file, content, None, None)
            decoded = self._decode(data, file)
            views = to_views(decoded, self.spec)
            return Loaded(file, content, views, decoded.facts, miniature(decoded.image))
        except PhotoError as problem:
            return Failed(file, str(problem), content)
        except MemoryError:
            return Failed(file, "too large for the memory of this machine", content)

    def _decode(self, data: bytes, file: PhotoFile) -> Decoded:
        """Decode a photo; a large one, known by its header, waits until it is the only one."""
        name, side = file.absolute.name, self.spec.decode_side
        try:
            most = min(self.large_pixels, self.max_pixels)
            return decode(data, name=name, shorter_side=side, max_pixels=most)
        except TooManyPixels:
            if self.max_pixels <= self.large_pixels:
                raise
        with self._one_at_a_time(file.size <= LARGE_BYTES):
            return decode(data, name=name, shorter_side=side, max_pixels=self.max_pixels)

    def _one_at_a_time(self, is_large: bool) -> AbstractContextManager[object]:
        return self._large if is_large else nullcontext()


def _read_still(file: PhotoFile) -> tuple[PhotoFile, bytes]:
    """Return the bytes of a file, and its size and time, which reading left unchanged."""
    before = _stat(file)
    if not stat.S_ISREG(before.st_mode):  # opening a pipe or a device may do anything
        raise PhotoError("not a file but a pipe, a socket or a device")
    data = read(file.absolute)
    after = _stat(file)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not same or len(data) != after.st_size:
        raise PhotoError(CHANGED)
    return replace(file, size=after.st_size, mtime_ns=modified_ns(after)), data


def _stat(file: PhotoFile) -> os.stat_result:
    try:
        return os.stat(file.absolute)
    except OSError:
        read(file.absolute)  # raises, in its own words
        raise PhotoError(CHANGED) from None
