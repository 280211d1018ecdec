"""The two files of a candidate index: the PQ index, and the row map.

The row map lists the vector rows (segment id, row, content id) as they were when the index was
built, so that opening a large library reads only later changes from the database. Both files are a
cache: without them a search reads segments and the database.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.files import open_regular
from mkt_search.store.ann.pq_index import PQIndex
from mkt_search.store.ann.run_lengths import decode, encode
from mkt_search.store.manifest import PQ_SUFFIX, ROW_MAP_SUFFIX, CandidateIndex, StoredFile
from mkt_search.store.segments.files import Bytes, packed, sha256_of, unpacked, write_named
from mkt_search.types import Encoding

PIECE = 1 << 24  # bytes hashed by one thread
NEXT_ROW = (0, 1, 1)  # a run of vector rows: same segment, next row, next content

_ROW_MAP = "places"  # the name of the array in a row map file


def piecewise_sha256(data: bytes | memoryview) -> bytes:
    """Return the SHA-256 over the SHA-256 of each 16 MB, which threads compute together.

    The files of a large library have a gigabyte, and are checked whenever they are loaded.
    """
    whole = memoryview(data).cast("B")
    pieces = [whole[i : i + PIECE] for i in range(0, len(whole), PIECE)]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return sha256_of(b"".join(workers.map(sha256_of, pieces)))


def write_index(
    folder: Path, pq_index: PQIndex, vector_rows: NDArray[np.int64], *, prefix: str = ""
) -> tuple[StoredFile, StoredFile]:
    """Write both files; return them, the PQ index first.

    Args:
        folder: an existing folder.
        pq_index: the index.
        vector_rows: (n, 3) segment id, row and content id.
        prefix: what the file names begin with.

    Raises:
        OSError: the files cannot be written.
    """
    write: Callable[..., StoredFile] = partial(
        write_named, folder, prefix=prefix, digest_of=piecewise_sha256
    )
    row_map = packed({_ROW_MAP: encode(vector_rows, NEXT_ROW)})
    return (
        write(packed(pq_index.arrays()), suffix=PQ_SUFFIX),
        write(row_map, suffix=ROW_MAP_SUFFIX),
    )


def load_pq_index(folder: Path, index: CandidateIndex, encoding: Encoding) -> PQIndex:
    """Load the PQ index and check every byte. Raises LibraryDamaged, whose text is a sentence."""
    try:
        arrays = _arrays(_checked(folder, index.pq))
        return PQIndex.of_arrays(arrays, encoding.dim, max(encoding.m, 1))
    except LibraryDamaged as error:
        raise LibraryDamaged(
            f"The candidate index {index.pq.name} {error}. Searches read every photo until "
            "`mkt repair` or `mkt optimize` builds it again."
        ) from error


def load_row_map(folder: Path, index: CandidateIndex) -> NDArray[np.int64]:
    """Load the vector rows, (n, 3) segment id, row and content id, and check every byte.

    Raises:
        LibraryDamaged: its text is a sentence.
    """
    try:
        runs = _arrays(_checked(folder, index.row_map), _ROW_MAP)[_ROW_MAP]
        return decode(runs, NEXT_ROW, rows=index.photos)
    except ValueError as error:
        raise LibraryDamaged(
            f"The row map {index.row_map.name} cannot be read: {error}."
        ) from error
    except LibraryDamaged as error:
        raise LibraryDamaged(
            f"The row map {index.row_map.name} {error}. Vectors are looked up in the database "
            "until `mkt repair` or `mkt optimize` writes it again."
        ) from error


def _arrays(data: Bytes, *names: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file. Raises LibraryDamaged, also if one of `names` is missing."""
    try:
        arrays, _ = unpacked(data)
        return arrays | {name: arrays[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise LibraryDamaged("is of another version of this program") from error


def _checked(folder: Path, file: StoredFile) -> Bytes:
    """Map a file into memory if its bytes are those that were written. Raises LibraryDamaged."""
    try:
        with open_regular(folder / file.name, follow_links=False) as stream:
            if os.fstat(stream.fileno()).st_size != file.size:
                raise LibraryDamaged("has lost or gained bytes")
            data = np.memmap(stream, np.uint8, mode="r").view(np.ndarray)
    except FileNotFoundError:
        raise LibraryDamaged("is missing") from None
    except OSError as error:
        raise LibraryDamaged(f"cannot be read: {error.strerror}") from error
    if piecewise_sha256(data.data) != file.sha256:
        raise LibraryDamaged("has other bytes than were written")
    return data
