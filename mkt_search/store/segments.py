"""Segments: immutable safetensors files of vectors, written whole or not at all.

For n photos with m local vectors of dimension D and P patches a segment holds

    codes    (n, 1 + m, W) uint8   the global vector, then the local ones; W bytes code D numbers
    steps    (n, 1 + m) float32    vector = step * code
    members  (n, m, ceil(P / 8))   uint8 bits: the patches each local vector is the mean of
    content  (n, 32) uint8         SHA-256 of the bytes each photo was read from

A number is coded in `precision`: fp16 (2 bytes, step = the vector's largest magnitude), int8
(-127..127) or int4 (-7..7, two to a byte). Each vector has its own step, so its code does not
depend on the photos beside it.
"""

import errno
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from mkt_search.errors import LibraryDamaged, StoreError
from mkt_search.types import Encoding, PhotoVectors, Precision, Vector

LEVELS = {"fp16": 1, "int8": 127, "int4": 7}
SUFFIX = ".safetensors"
FEW_ROWS = 16  # up to so many rows are read as they come
SPARE_FILES = 64  # beside the segments: database, photos, libraries
DECODED = 512  # vectors decoded together for a product: their numbers stay in the cache

Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64] | slice


@dataclass(frozen=True)
class Written:
    """A file that is whole on disk: its name in the folder, its bytes and their SHA-256."""

    file: str
    size: int
    sha256: bytes


def sha256_of(data: bytes | memoryview) -> bytes:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).digest()


def encode(vectors: Vector, precision: Precision) -> tuple[Bytes, Vector]:
    """Code vectors (..., D) as (..., W) bytes and (...) steps."""
    largest = np.abs(vectors).max(axis=-1)
    steps = (np.where(largest > 0, largest, 1) / LEVELS[precision]).astype(np.float32)
    scaled = vectors / steps[..., None]
    if precision == "fp16":
        return scaled.astype("<f2").view(np.uint8), steps
    whole = np.rint(scaled).astype(np.int8)
    if precision == "int8":
        return whole.view(np.uint8), steps
    if whole.shape[-1] % 2:
        whole = np.concatenate([whole, np.zeros_like(whole[..., :1])], axis=-1)
    nibbles = (whole + 8).astype(np.uint8)
    return nibbles[..., ::2] | (nibbles[..., 1::2] << 4), steps


def decode(codes: Bytes, steps: Vector, precision: Precision, dim: int) -> Vector:
    """Undo `encode`: (..., W) bytes and (...) steps -> (..., D) float32."""
    vectors: Vector = levels(codes, precision, dim) * steps[..., None]
    return vectors


def levels(codes: Bytes, precision: Precision, dim: int) -> Vector:
    """Return what bytes (..., W) stand for in steps: (..., D) float32."""
    if precision == "fp16":
        return codes.view("<f2").astype(np.float32)
    if precision == "int8":
        return codes.view(np.int8).astype(np.float32)
    whole = np.empty((*codes.shape[:-1], 2 * codes.shape[-1]), np.float32)
    whole[..., ::2] = codes & 15
    whole[..., 1::2] = codes >> 4
    return whole[..., :dim] - 8


def products(
    codes: Bytes,
    steps: Vector,
    labels: Vector,
    precision: Precision,
    *,
    out: Vector | None = None,
) -> Vector:
    """Return inner products with labels (L, D): (..., W) bytes and (...) steps -> (..., L).

    They are written to `out`, if that is given: an array without gaps.
    """
    dim, flat = labels.shape[1], codes.reshape(-1, codes.shape[-1])
    whole = np.empty((*steps.shape, len(labels)), np.float32) if out is None else out
    found = whole.reshape(len(flat), len(labels))
    for first in range(0, len(flat), DECODED):
        part = slice(first, first + DECODED)
        np.matmul(levels(flat[part], precision, dim), labels.T, out=found[part])
    found *= steps.reshape(-1, 1)
    return whole


def write(
    folder: Path,
    vectors: PhotoVectors,
    contents: Sequence[str],
    encoding: Encoding,
    *,
    prefix: str = "",
) -> Written:
    """Write a segment under a temporary name, sync it, rename it and sync the folder.

    Its name is `prefix` and its own digest, so the same vectors make the same file.
    """
    rows = np.concatenate([vectors.global_[:, None], vectors.locals_], axis=1)
    codes, steps = encode(rows, encoding.precision)
    arrays: dict[str, NDArray[Any]] = {
        "codes": codes,
        "steps": steps,
        "members": np.packbits(vectors.members, axis=-1),
        "content": np.frombuffer(bytes.fromhex("".join(contents)), np.uint8).reshape(-1, 32),
    }
    return write_arrays(folder, arrays, encoding, prefix=prefix)


def write_arrays(
    folder: Path, arrays: dict[str, NDArray[Any]], encoding: Encoding, *, prefix: str = ""
) -> Written:
    """Write the arrays of a segment as `write` does, coded already."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = save(tensors, metadata={"encoding": encoding.fingerprint})
    return write_named(folder, data, prefix=prefix, suffix=SUFFIX)


def write_named(
    folder: Path,
    data: bytes | memoryview,
    *,
    prefix: str = "",
    suffix: str = "",
    digest_of: Callable[[bytes | memoryview], bytes] = sha256_of,
) -> Written:
    """Write a file whole, as `write` does, under `prefix`, its own digest and `suffix`."""
    sha256 = digest_of(data)
    name = f"{prefix}{sha256.hex()[:24]}{suffix}"
    write_whole(folder / name, data)
    return Written(name, len(data), sha256)


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path` so that a crash leaves the whole file or none under that name."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as the files (POSIX; elsewhere renames are)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True)
class Segment:
    """An open segment: memory-mapped arrays, decoded on demand.

    The system is told that rows are read here and there, so that a row of a candidate does not
    bring its neighbours from disk; rows that lie together are asked for together.
    """

    codes: Bytes
    steps: Vector
    members: Bytes
    content: Bytes
    precision: Precision
    dim: int
    patches: int
    file: mmap.mmap

    def __len__(self) -> int:
        return len(self.codes)

    def vectors(self, rows: Rows) -> Vector:
        """Decode (n, 1 + m, D) float32: each photo's global vector, then its local ones."""
        self._ahead(rows, self.codes, self.steps)
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
        if which is None:
            self._ahead(rows, codes, steps)
        else:
            codes, steps = codes.reshape(-1, codes.shape[2]), steps.reshape(-1)
            at = rows * self.codes.shape[1] + which
        if len(at) and not 0 <= int(at.min()) <= int(at.max()) < len(codes):
            raise IndexError("no such row")  # "clip", which spares a copy, would take another
        return (
            codes.take(at, axis=0, out=out[0], mode="clip"),
            steps.take(at, axis=0, out=out[1], mode="clip"),
        )

    def counts(self, rows: Rows) -> NDArray[np.int64]:
        """Count the patches of every local vector: (n, m)."""
        self._ahead(rows, self.members)
        counts: NDArray[np.int64] = np.bitwise_count(self.members[rows]).sum(-1, dtype=np.int64)
        return counts

    def member_patches(self, rows: Rows) -> NDArray[np.bool_]:
        """Say which patches each local vector is the mean of: (n, m, P)."""
        return np.unpackbits(self.members[rows], axis=-1, count=self.patches).view(np.bool_)

    def _ahead(self, rows: Rows, *arrays: NDArray[Any]) -> None:
        """Have rows that lie close together read at once, ahead of their use."""
        if isinstance(rows, slice):
            first, end, _ = rows.indices(len(self))
            count = end - first
        elif len(rows):
            first, end, count = int(rows[0]), int(rows[-1]) + 1, len(rows)
        else:
            return
        is_close = count <= end - first <= 2 * count  # and the rows rise
        if count < FEW_ROWS or not is_close or not hasattr(mmap, "MADV_WILLNEED"):
            return
        base = np.frombuffer(self.file, np.uint8).ctypes.data
        for array in (array for array in arrays if array.size):
            row = array.strides[0]
            start = array.ctypes.data - base + first * row
            page = start % mmap.PAGESIZE
            self.file.madvise(mmap.MADV_WILLNEED, start - page, (end - first) * row + page)

    def let_go(self) -> None:
        """Give the memory of what was read back to the system; it is read again when asked for.

        A mapped file counts as memory of the process as far as it was read. Threads may go on
        reading meanwhile.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            self.file.madvise(mmap.MADV_DONTNEED)

    def peak(self) -> float:
        """Return a bound on the magnitude of any number in g + l, known from the steps alone."""
        if not len(self.steps):
            return 0.0
        locals_ = self.steps[:, 1:].max(axis=1, initial=0)
        return float((self.steps[:, 0] + locals_).max()) * LEVELS[self.precision]


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
        file, arrays, metadata = _map(path, path.stat().st_size)
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
    return Segment(
        **arrays,
        precision=encoding.precision,
        dim=encoding.dim,
        patches=encoding.patches,
        file=file,
    )


def _map(path: Path, size: int) -> tuple[mmap.mmap, dict[str, Any], dict[str, str]]:
    """Map the arrays of a safetensors file (an 8-byte length, a JSON header, then the numbers)."""
    dtypes: dict[str, np.dtype[Any]] = {"U8": np.dtype(np.uint8), "F32": np.dtype("<f4")}
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < size:
            raise ValueError("its header is cut short")
        header = json.loads(file.read(length))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)
    start = 8 + length
    arrays = {}
    whole = np.frombuffer(mapped, np.uint8)
    for name in ("codes", "steps", "members", "content"):
        entry = header[name]
        begin, end = entry["data_offsets"]
        if start + end > len(whole):
            raise ValueError("it is cut short")
        values = whole[start + begin : start + end].view(dtypes[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    return mapped, arrays, header.get("__metadata__", {})


def digest(path: Path) -> bytes:
    """Return the SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
