"""Segments: immutable safetensors files of vectors, written whole or not at all.

For n photos with m local vectors of dimension D and P patches a segment holds

    codes    (n, 1 + m, W) uint8   the global vector, then the local ones; W bytes code D numbers
    steps    (n, 1 + m) float32    vector = step * code
    members  (n, m, ceil(P / 8))   uint8: the patches each local vector is the mean of, as bits,
    lists    (n, m, w) uint8       or as numbers in the place of these (`members`)
    content  (n, 32) uint8         SHA-256 of the bytes each photo was read from

`coding` says what the codes are.
"""

import errno
import mmap
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged, StoreError
from mkt_search.store.manifest import StoredFile
from mkt_search.store.segments.coding import LEVELS, decode, encode
from mkt_search.store.segments.files import Bytes, packed, unpacked, write_named
from mkt_search.store.segments.members import Members, Packing, Rows
from mkt_search.types import Encoding, PhotoVectors, Precision, Vector

SUFFIX = ".safetensors"
READ_ALONG = 1 << 16  # bytes that a disk reads in the time that a request takes, about
SPARE_FILES = 64  # beside the segments: database, photos, libraries


class Arrays(NamedTuple):
    """The photos of a segment, as its file has them: see above."""

    codes: Bytes
    steps: Vector
    members: Members
    content: Bytes

    @classmethod
    def joined(cls, parts: Sequence["Arrays"]) -> "Arrays":
        """Put photos of several segments of one encoding one after another."""
        return cls(
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.steps for part in parts]),
            Members.joined([part.members for part in parts]),
            np.concatenate([part.content for part in parts]),
        )


def write(
    folder: Path,
    vectors: PhotoVectors,
    contents: Sequence[str],
    encoding: Encoding,
    *,
    prefix: str = "",
) -> StoredFile:
    """Write a segment; its name is by its digest, so the same vectors make the same file."""
    rows = np.concatenate([vectors.global_vectors[:, None], vectors.local_vectors], axis=1)
    codes, steps = encode(rows, encoding.precision)
    content = np.frombuffer(bytes.fromhex("".join(contents)), np.uint8).reshape(-1, 32)
    arrays = Arrays(codes, steps, Members.pack(vectors.members), content)
    return write_arrays(folder, arrays, encoding, prefix=prefix)


def write_arrays(
    folder: Path, arrays: Arrays, encoding: Encoding, *, prefix: str = ""
) -> StoredFile:
    """Write the arrays of a segment as `write` does."""
    named: dict[str, NDArray[Any]] = {
        "codes": arrays.codes,
        "steps": arrays.steps,
        arrays.members.form: arrays.members.packed,
        "content": arrays.content,
    }
    data = packed(named, {"encoding": encoding.fingerprint})
    return write_named(folder, data, prefix=prefix, suffix=SUFFIX)


@dataclass(frozen=True)
class Segment:
    """An open segment: memory-mapped arrays, decoded on demand.

    The system is told that rows are read here and there, so that a row of a candidate does not
    bring its neighbours from disk; who wants many has them read `ahead`.
    """

    codes: Bytes
    steps: Vector
    members: Members
    content: Bytes
    precision: Precision
    dim: int
    file: mmap.mmap

    def __len__(self) -> int:
        return len(self.codes)

    def vectors(self, rows: Rows) -> Vector:
        """Decode (n, 1 + m, D) float32: each photo's global vector, then its local ones."""
        if isinstance(rows, slice):
            first, end, _ = rows.indices(len(self))
            for array in (self.codes, self.steps) if first < end else ():
                self._ask_for(array, [(first, end - 1)])
        return decode(self.codes[rows], self.steps[rows], self.precision, self.dim)

    def coded(
        self,
        rows: NDArray[np.int64],
        which: NDArray[np.int64] | None = None,
        *,
        out: tuple[Bytes, Vector] | tuple[None, None] = (None, None),
    ) -> tuple[Bytes, Vector]:
        """Return copies of the codes and steps of rows, (n, 1 + m, W) and (n, 1 + m).

        With `which` (n,), those of one vector of each row, (n, W) and (n,); 0 is the global one.
        They are written to `out`, if that is given.
        """
        codes, steps, at = self.codes, self.steps, rows
        if which is not None:
            codes, steps = codes.reshape(-1, codes.shape[2]), steps.reshape(-1)
            at = rows * self.codes.shape[1] + which
        if len(at) and not 0 <= int(at.min()) <= int(at.max()) < len(codes):
            raise IndexError("no such row")  # "clip", which spares a copy, would take another
        return (
            codes.take(at, axis=0, out=out[0], mode="clip"),
            steps.take(at, axis=0, out=out[1], mode="clip"),
        )

    def arrays(self, rows: Rows) -> Arrays:
        """Return rows as they are coded."""
        members = Members(self.members.packed[rows], self.members.form, self.members.patches)
        return Arrays(self.codes[rows], self.steps[rows], members, self.content[rows])

    def ahead(self, rows: NDArray[np.int64], *arrays: NDArray[Any]) -> None:
        """Have rows of some of the arrays read from disk at once, ahead of their use.

        What lies between two of them is read along where that is less than another request takes.
        """
        if not len(rows):
            return
        rising = np.sort(rows)
        for array in arrays:
            is_apart = (rising[1:] - rising[:-1]) * array.strides[0] > READ_ALONG
            first = rising[np.concatenate([[True], is_apart])]
            last = rising[np.concatenate([is_apart, [True]])]
            self._ask_for(array, zip(first.tolist(), last.tolist(), strict=True))

    def _ask_for(self, array: NDArray[Any], pieces: Iterable[tuple[int, int]]) -> None:
        """Have the system begin to read rows of an array, from first to last; it is not awaited."""
        if not array.size or not hasattr(mmap, "MADV_WILLNEED"):
            return
        base = array.ctypes.data - np.frombuffer(self.file, np.uint8).ctypes.data
        row = array.strides[0]
        for first, last in pieces:
            start = base + first * row
            page = start % mmap.PAGESIZE
            length = (last + 1 - first) * row + page
            self.file.madvise(mmap.MADV_WILLNEED, start - page, length)

    def release_pages(self) -> None:
        """Give the memory of what was read back to the system; reading it again stays possible.

        The part of a mapped file that was read counts as memory of the process. Threads may read
        at the same time.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self.file.madvise(mmap.MADV_DONTNEED)

    def peak(self) -> float:
        """Return a bound on the magnitude of any number in g + l, known from the steps alone."""
        if not len(self.steps):
            return 0.0
        local_vectors = self.steps[:, 1:].max(axis=1, initial=0)
        return float((self.steps[:, 0] + local_vectors).max()) * LEVELS[self.precision]


def open_segments(paths: Sequence[Path], encoding: Encoding) -> list[Segment]:
    """Map segments into memory, as `open_segment` does; each keeps a file open."""
    _allow_files(len(paths))
    return [open_segment(path, encoding) for path in paths]


def _allow_files(more: int) -> None:
    """Let this process have so many more files open, as far as the system lets it (POSIX)."""
    if os.name != "posix":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_open = len(os.listdir("/dev/fd"))
    wanted = is_open + more + SPARE_FILES
    if soft != resource.RLIM_INFINITY and wanted > soft:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def open_segment(path: Path, encoding: Encoding) -> Segment:
    """Map a segment into memory.

    Raises:
        LibraryDamaged: it is missing, cut short, or another's.
        StoreError: the system does not let it be read.
    """
    try:
        file, arrays, metadata = _map(path)
        segment = _segment(arrays, encoding, file)
    except FileNotFoundError:
        raise LibraryDamaged(
            f"The segment {path.name} is missing. Run `mkt repair` to encode its photos again."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise LibraryDamaged(
            f"The segment {path.name} is damaged ({error}). Run `mkt repair` to encode its photos "
            "again."
        ) from error
    except OSError as error:
        hint = " Allow more with `ulimit -n`." if error.errno == errno.EMFILE else ""
        raise StoreError(
            f"The segment {path.name} cannot be read: {error.strerror}.{hint}"
        ) from error
    if metadata.get("encoding") != encoding.fingerprint:
        raise LibraryDamaged(
            f"The segment {path.name} was made under encoding {metadata.get('encoding')}, the "
            f"library says {encoding.fingerprint}. Run `mkt repair`."
        )
    return segment


def _segment(arrays: dict[str, Any], encoding: Encoding, file: mmap.mmap) -> Segment:
    form: Packing = "lists" if "lists" in arrays else "members"
    return Segment(
        codes=arrays["codes"],
        steps=arrays["steps"],
        members=Members(arrays[form], form, encoding.patches),
        content=arrays["content"],
        precision=encoding.precision,
        dim=encoding.dim,
        file=file,
    )


def _map(path: Path) -> tuple[mmap.mmap, dict[str, Any], dict[str, str]]:
    """Map the arrays of a file into memory; they are to be read here and there."""
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return mapped, *unpacked(np.frombuffer(mapped, np.uint8))
