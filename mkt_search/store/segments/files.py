"""Files of arrays beside the database: written whole or not at all, and named by their digest.

The format is safetensors: the length of the header in 8 bytes, the header in JSON, the numbers. Own
code reads it, because `unpacked` returns views of a mapped file where safetensors would copy.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from mkt_search.files import open_regular, write_atomically
from mkt_search.store.manifest import StoredFile

DTYPES: dict[str, np.dtype[Any]] = {
    "U8": np.dtype(np.uint8),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
}

MAX_HEADER = 1 << 16  # bytes; a header describes up to six arrays

Bytes = NDArray[np.uint8]


def sha256_of(data: bytes | memoryview) -> bytes:
    """Return the SHA-256 of bytes."""
    return hashlib.sha256(data).digest()


def digest(path: Path) -> bytes:
    """Return the SHA-256 of a file, read in pieces. Raises OSError."""
    with open_regular(path, follow_links=False) as file:
        return hashlib.file_digest(file, "sha256").digest()


def packed(arrays: Mapping[str, NDArray[Any]], metadata: dict[str, str] | None = None) -> bytes:
    """Return arrays as the bytes of a file."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data: bytes = save(tensors, metadata=metadata)
    return data


def unpacked(data: Bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Undo `packed`: return the arrays, which are views of the bytes, and the metadata.

    Raises:
        ValueError, KeyError, TypeError: the bytes are cut short or something else.
    """
    length = int.from_bytes(data[:8].tobytes(), "little")
    start = 8 + length
    if not 0 < length <= len(data) - 8:
        raise ValueError("its header is cut short")
    if length > MAX_HEADER:
        raise ValueError("its header is too long")
    try:
        header = json.loads(data[8:start].tobytes())
    except RecursionError:
        raise ValueError("its header is no list of arrays") from None
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        raise ValueError("it has no header")
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if not 0 <= begin <= end <= len(data) - start:
            raise ValueError("it is cut short")
        values = data[start + begin : start + end].view(DTYPES[entry["dtype"]])
        arrays[name] = values.reshape(entry["shape"])
    return arrays, metadata


def write_named(
    folder: Path,
    data: bytes | memoryview,
    *,
    prefix: str = "",
    suffix: str = "",
    digest_of: Callable[[bytes | memoryview], bytes] = sha256_of,
) -> StoredFile:
    """Write a file, named `prefix`, the beginning of its digest and `suffix`. Raises OSError."""
    sha256 = digest_of(data)
    name = f"{prefix}{sha256.hex()[:24]}{suffix}"
    write_atomically(folder / name, data)
    return StoredFile(name, len(data), sha256)
