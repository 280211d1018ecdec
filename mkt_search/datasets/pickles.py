"""Read a pickle of plain data without running code from it: containers, strings, numbers, arrays.

A pickle is a program that may call anything it names. This reader resolves only the names that
rebuild a numpy array, and replaces those too: numpy's own unpickling trusts its input, so it never
runs.
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.datasets.files import MAX_BYTES
from mkt_search.errors import DatasetError
from mkt_search.files import read_bytes

ELEMENT_KINDS = "SUiufb"  # numpy's codes of bytes, text and numbers


def read_pickle(file: Path) -> Any:
    """Return the content of a pickle; an array becomes nested lists of its shape.

    Raises:
        DatasetError: the file is missing, damaged, or names anything else; the text says what.
    """
    try:
        content = read_bytes(file, at_most=MAX_BYTES)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error})") from error
    try:
        return _plain(_Reader(io.BytesIO(content), encoding="latin1").load())
    except _Refused as refused:
        raise DatasetError(
            f"{file} holds {refused}, which is not plain data and is not loaded. Get the file from"
            " where it was published."
        ) from refused
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DatasetError(
            f"{file} is not a pickle of plain data, or is damaged: {error}."
        ) from error


class _Refused(Exception):
    """A pickle names something that is not plain data; the text is that name."""


class _Dtype:
    """Replaces numpy.dtype: the type of an array's values."""

    def __init__(self, code: str, *ignored: Any) -> None:
        self._code, self._order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = state[1]

    def values(self, data: bytes) -> list[Any]:
        """Return the values in a buffer. Raises ValueError for anything but text and numbers."""
        dtype = np.dtype(f"{self._order}{self._code}".lstrip("|"))
        if dtype.kind not in ELEMENT_KINDS:
            raise ValueError(f"values of the type {dtype}")
        values: list[Any] = np.frombuffer(data, dtype).tolist()
        return values


class _Array:
    """Replaces numpy.ndarray while a pickle is read."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.values: list[Any] = []

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, dtype, is_fortran, data = state
        if is_fortran and len(self.shape) > 1:
            raise ValueError("an array in Fortran order")
        self.values = list(data) if isinstance(data, list) else dtype.values(data)

    def nested(self) -> Any:
        """Return the values as nested lists of the array's shape."""
        if math.prod(self.shape) != len(self.values):
            raise ValueError(f"{len(self.values)} values in an array of shape {self.shape}")
        values: list[Any] = [_plain(value) for value in self.values]
        for size in reversed(self.shape[1:]):
            values = [values[i : i + size] for i in range(0, len(values), size)] if size else []
        return values if self.shape else values[0]


def _empty(*ignored: Any) -> _Array:
    return _Array()


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    return dtype.values(data)[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding.replace("-", "").lower() not in ("latin1", "iso88591"):
        raise ValueError(f"bytes encoded as {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


REPLACEMENTS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("__builtin__", "bytes"): _no_bytes,
}
for core in ("numpy.core", "numpy._core"):  # numpy 1 and numpy 2
    REPLACEMENTS[f"{core}.multiarray", "_reconstruct"] = _empty
    REPLACEMENTS[f"{core}.multiarray", "scalar"] = _scalar
    REPLACEMENTS[f"{core}.numeric", "_frombuffer"] = _from_buffer


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in REPLACEMENTS:
            raise _Refused(f"{module}.{name}")
        return REPLACEMENTS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"a reference to {pid!r}")


def _plain(value: Any) -> Any:
    """Return plain containers and values, arrays as lists. Raises _Refused for anything else."""
    if isinstance(value, _Array):
        return value.nested()
    if isinstance(value, dict):
        return {_plain(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(_plain(entry) for entry in value)
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise _Refused(f"{type(value).__name__.lstrip('_')}")
