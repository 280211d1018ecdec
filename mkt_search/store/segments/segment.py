"""Segments: immutable safetensors files of vectors, written whole or not at all.

For n photos with m local vectors of dimension D and P patches a segment holds

    codes    (n, 1 + m, W) uint8   the global vector, then the local ones; W bytes code D numbers
    steps    (n, 1 + m) float32    vector = step * code
    members  (n, m, ceil(P / 8))   uint8: the patches each local vector is the mean of, as bits,
    lists    (n, m, w) uint8       or instead as patch numbers (see `members`)
    views    (n, m) uint8          which view those patches are of; only if a photo has several
    content  (n, 32) uint8         SHA-256 of the bytes each photo was read from
    checks   (n,) uint32           CRC-32 of each photo's rows of the arrays above, in this order

`coding` says what the codes are. Segments of earlier versions have no checks.
"""

import errno
import mmap
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged, StoreError
from mkt_search.files import open_regular
from mkt_search.store.manifest import StoredFile
from mkt_search.store.segments.coding import LEVELS, bytes_per_vector, decode, encode
from mkt_search.store.segments.files import Bytes, packed, unpacked, write_named
from mkt_search.store.segments.members import BITS_PER_BYTE, Members, Packing, Rows
from mkt_search.types import Encoding, PhotoVectors, Precision, Vector

SUFFIX = ".safetensors"
MERGE_READS_WITHIN_BYTES = 1 << 16
"""Two reads this near are one: a disk reads the gap in about the time of another request."""

SHA256_BYTES = 32
NOT_A_FILE = (errno.ELOOP, errno.EINVAL, errno.EISDIR)  # as `open_regular` raises
OTHER_OPEN_FILES = 64  # files besides segments: the database, photos, shared libraries


class Arrays(NamedTuple):
    """The photos of a segment, as its file has them."""

    codes: Bytes
    steps: Vector
    members: Members
    content: Bytes

    @classmethod
    def joined(cls, parts: Sequence["Arrays"]) -> "Arrays":
        """Concatenate photos of several segments of one encoding."""
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
    """Write vectors of n photos as a segment, named by its digest.

    Args:
        folder: an existing folder.
        vectors: of n photos.
        contents: the SHA-256 of each photo's bytes, in hex.
        encoding: of the vectors.
        prefix: what the file name begins with.

    Raises:
        OSError: the file cannot be written.
    """
    rows = np.concatenate([vectors.global_vectors[:, None], vectors.local_vectors], axis=1)
    codes, steps = encode(rows, encoding.precision)  # (n, 1 + m, W), (n, 1 + m)
    content = np.frombuffer(bytes.fromhex("".join(contents)), np.uint8).reshape(-1, 32)
    arrays = Arrays(codes, steps, Members.pack(vectors.members, encoding.patches), content)
    return write_arrays(folder, arrays, encoding, prefix=prefix)


def write_arrays(
    folder: Path, arrays: Arrays, encoding: Encoding, *, prefix: str = ""
) -> StoredFile:
    """Write the arrays of a segment. Raises OSError."""
    named: dict[str, NDArray[Any]] = {
        "codes": arrays.codes,
        "steps": arrays.steps,
        arrays.members.form: arrays.members.packed,
        "content": arrays.content,
        "checks": checks_of(arrays),
    }
    if arrays.members.views.any():
        named["views"] = arrays.members.views
    data = packed(named, {"encoding": encoding.fingerprint})
    return write_named(folder, data, prefix=prefix, suffix=SUFFIX)


def checks_of(arrays: Arrays) -> NDArray[np.uint32]:
    """Return the CRC-32 (n,) of each photo's rows. It differs if one bit of them does."""
    checks = np.zeros(len(arrays.codes), np.uint32)
    members = arrays.members
    columns = (arrays.codes, arrays.steps, members.packed, members.views, arrays.content)
    for row, parts in enumerate(zip(*map(np.ascontiguousarray, columns), strict=True)):
        check = 0
        for part in parts:
            check = zlib.crc32(part.data, check)
        checks[row] = check
    return checks


@dataclass(frozen=True)
class Segment:
    """An open segment: arrays in a mapped file, decoded when read.

    The system is advised that rows are read at random, so that the row of a candidate does not pull
    its neighbors from the disk. Read many rows after `read_ahead`. `checks` is None in a file of an
    earlier version.
    """

    name: str
    codes: Bytes
    steps: Vector
    members: Members
    content: Bytes
    checks: NDArray[np.uint32] | None
    precision: Precision
    dim: int
    file: mmap.mmap

    def __len__(self) -> int:
        """Count the photos."""
        return len(self.codes)

    def vectors(self, rows: Rows) -> Vector:
        """Decode photos: (r, 1 + m, D) float32, the global vector first."""
        if isinstance(rows, slice):
            first, end, _ = rows.indices(len(self))
            for array in (self.codes, self.steps) if first < end else ():
                self._advise_needed(array, [(first, end - 1)])
        return decode(self.codes[rows], self.steps[rows], self.precision, self.dim)

    def coded(
        self,
        rows: NDArray[np.int64],
        vector: NDArray[np.int64] | None = None,
        *,
        out: tuple[Bytes, Vector] | tuple[None, None] = (None, None),
    ) -> tuple[Bytes, Vector]:
        """Return copies of codes and steps: (r, 1 + m, W) and (r, 1 + m).

        Args:
            rows: (r,) photos.
            vector: (r,) one vector of each photo, 0 is the global one; the result then is (r, W)
                and (r,).
            out: where to write them; new arrays if None.

        Raises:
            IndexError: there is no such row.
        """
        codes, steps, at = self.codes, self.steps, rows
        if vector is not None:
            codes, steps = codes.reshape(-1, codes.shape[2]), steps.reshape(-1)
            at = rows * self.codes.shape[1] + vector
        if len(at) and not 0 <= int(at.min()) <= int(at.max()) < len(codes):
            raise IndexError("no such row")  # mode "clip", which saves a copy, would not raise
        return (
            codes.take(at, axis=0, out=out[0], mode="clip"),
            steps.take(at, axis=0, out=out[1], mode="clip"),
        )

    def arrays(self, rows: Rows) -> Arrays:
        """Return photos as the file has them."""
        members = self.members.of(rows)
        return Arrays(self.codes[rows], self.steps[rows], members, self.content[rows])

    def check(self, rows: Rows) -> None:
        """Raise LibraryDamaged if the bytes of photos are not those that were written."""
        if self.checks is None:
            return
        if (checks_of(self.arrays(rows)) != self.checks[rows]).any():
            raise LibraryDamaged(
                f"The segment {self.name} is damaged (bytes have changed). Run `mkt repair` to "
                "encode its photos again."
            )

    def read_ahead(
        self,
        rows: NDArray[np.int64],
        *arrays: NDArray[Any],
        merge_within: int = MERGE_READS_WITHIN_BYTES,
    ) -> None:
        """Ask the system to begin reading rows of some of the arrays from the disk, all at once."""
        if not len(rows):
            return
        rising = np.sort(rows)
        for array in arrays:
            gap = (rising[1:] - rising[:-1]) * array.strides[0]  # (r - 1,) bytes
            is_apart = gap > merge_within
            first = rising[np.concatenate([[True], is_apart])]
            last = rising[np.concatenate([is_apart, [True]])]
            self._advise_needed(array, zip(first.tolist(), last.tolist(), strict=True))

    def _advise_needed(self, array: NDArray[Any], pieces: Iterable[tuple[int, int]]) -> None:
        """Advise that rows of an array are needed soon, each piece from its first to its last."""
        if not array.size or not hasattr(mmap, "MADV_WILLNEED"):
            return
        base = array.ctypes.data - np.frombuffer(self.file, np.uint8).ctypes.data
        row = array.strides[0]
        for first, last in pieces:
            start = base + first * row
            page = start % mmap.PAGESIZE  # an advice begins at a page
            length = (last + 1 - first) * row + page
            self.file.madvise(mmap.MADV_WILLNEED, start - page, length)

    def release_pages(self) -> None:
        """Give the memory of what was read back to the system; other threads may go on reading.

        What was read of a mapped file counts as memory of the process. It is read again when it is
        needed.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self.file.madvise(mmap.MADV_DONTNEED)

    def peak(self) -> float:
        """Return an upper bound on the magnitude of any number in g + l, from the steps alone."""
        if not len(self.steps):
            return 0.0
        local_steps = self.steps[:, 1:].max(axis=1, initial=0)  # (n,)
        return float((self.steps[:, 0] + local_steps).max()) * LEVELS[self.precision]


def open_segments(paths: Sequence[Path], encoding: Encoding) -> list[Segment]:
    """Map segments into memory, as `open_segment` does; each keeps a file open."""
    _raise_file_limit(len(paths))
    return [open_segment(path, encoding) for path in paths]


def _raise_file_limit(more: int) -> None:
    """Allow this process `more` open files, as far as the system permits it (POSIX)."""
    if os.name != "posix":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/dev/fd")) + more + OTHER_OPEN_FILES
    if soft != resource.RLIM_INFINITY and wanted > soft:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def open_segment(path: Path, encoding: Encoding) -> Segment:
    """Map a segment into memory.

    Raises:
        LibraryDamaged: it is missing, cut short, or of another encoding.
        StoreError: the system refuses to read it.
    """
    try:
        file, arrays, metadata = _map(path)
        segment = _segment(path.name, arrays, encoding, file)
    except FileNotFoundError:
        raise LibraryDamaged(
            f"The segment {path.name} is missing. Run `mkt repair` to encode its photos again."
        ) from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise LibraryDamaged(
            f"The segment {path.name} is damaged ({error}). Run `mkt repair` to encode its photos "
            "again."
        ) from error
    except OSError as error:
        if error.errno in NOT_A_FILE:
            raise LibraryDamaged(
                f"The segment {path.name} is a link or a folder, not a file. Move it away, then "
                "run `mkt repair` to encode its photos again."
            ) from error
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


def _segment(name: str, arrays: dict[str, Any], encoding: Encoding, file: mmap.mmap) -> Segment:
    form: Packing = "lists" if "lists" in arrays else "members"
    _check_shapes(arrays, form, encoding)
    packed = arrays[form]
    views = arrays.get("views", np.broadcast_to(np.uint8(0), packed.shape[:2]))
    return Segment(
        name=name,
        codes=arrays["codes"],
        steps=arrays["steps"],
        members=Members(packed, form, encoding.patches, views),
        content=arrays["content"],
        checks=arrays.get("checks"),
        precision=encoding.precision,
        dim=encoding.dim,
        file=file,
    )


def _check_shapes(arrays: dict[str, NDArray[Any]], form: Packing, encoding: Encoding) -> None:
    """Raise ValueError unless the arrays are those of photos of this encoding."""
    codes, n = arrays["codes"], len(arrays["codes"])
    m = codes.shape[1] - 1
    width = arrays[form].shape[2] if form == "lists" else -(-encoding.patches // BITS_PER_BYTE)
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "codes": ((n, 1 + m, bytes_per_vector(encoding.precision, encoding.dim)), np.uint8),
        "steps": ((n, 1 + m), np.float32),
        form: ((n, m, width), np.uint8),
        "content": ((n, SHA256_BYTES), np.uint8),
    }
    if "views" in arrays:
        expected["views"] = ((n, m), np.uint8)
    if "checks" in arrays:
        expected["checks"] = ((n,), np.uint32)
    if unknown := set(arrays) - set(expected):
        raise ValueError(f"it has unknown arrays: {', '.join(sorted(unknown))}")
    for name, (shape, kind) in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != kind:
            raise ValueError(f"its {name} have another shape")


def _map(path: Path) -> tuple[mmap.mmap, dict[str, Any], dict[str, str]]:
    """Map a file; return the mapping, its arrays and its metadata."""
    with open_regular(path, follow_links=False) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return mapped, *unpacked(np.frombuffer(mapped, np.uint8))
