"""Encode labels by lookup: GloVe words, or text vectors computed in advance."""

import difflib
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from mkt_search.errors import ModelError, UnknownLabel
from mkt_search.files import SMALL, open_regular, read_text
from mkt_search.scoring import unit
from mkt_search.spelling import label_key
from mkt_search.types import Vector

MAX_LINE = 1_000_000  # characters of a word and its vector
MOST_UNPACKED = 50  # times the size of an archive, of what is in it

CONCEPTS = ("Concepts925.txt", "Concepts81.txt")  # the labels of MKT's label_emb.pt, in order

Column = Literal["names", "words"]


class LabelTable:
    """A `LabelEncoder` that looks up vectors of known labels.

    A label is looked up as written; then ignoring case, with "_" and "-" read as spaces; then, if
    each of its words is in the table, as the mean of their unit vectors. Any other label raises
    `UnknownLabel`.

    Args:
        names: L labels. A repeated name gets the mean of its unit vectors.
        vectors: (L, D), any float type; rows are scaled to length 1.
        source: the name of the table in messages.

    Raises:
        ValueError: the shapes do not fit.
    """

    def __init__(self, names: Sequence[str], vectors: Vector, *, source: str = "the table") -> None:
        if np.ndim(vectors) != 2 or len(names) != len(vectors):
            raise ValueError(f"{len(names)} names do not fit vectors of shape {np.shape(vectors)}")
        self.source = source
        self.names, self.vectors = _merge_repeated(
            names, _unit_rows(np.asarray(vectors, np.float32))
        )
        self._exact = {name: row for row, name in enumerate(self.names)}
        self._loose: dict[str, int] = {}
        for row, name in enumerate(self.names):
            self._loose.setdefault(_loosen(name), row)

    @classmethod
    def read(
        cls, path: Path, *, center: bool = False, column: Column | None = None
    ) -> "LabelTable":
        """Read a table from `.npz` (`names` or `words`, and `vectors`), GloVe `.txt` or `.txt.gz`,
        or MKT's `label_emb.pt`, whose labels are in Concepts925.txt and Concepts81.txt beside it.

        Args:
            path: the file.
            center: subtract the mean of all unit vectors and rescale to length 1; this removes the
                component that all GloVe vectors share.
            column: the array of the `.npz` that holds the labels; None takes the existing one.

        Raises:
            ModelError: the file is missing, damaged or of another kind.
        """
        try:
            with open_regular(path) as file:
                if path.suffix == ".npz":
                    names, vectors = _read_npz(file, column, source=str(path))
                elif path.suffix == ".pt":
                    names, vectors = _read_tensors(file, path)
                else:
                    names, vectors = _read_text(file, path)
        except FileNotFoundError:
            raise ModelError(f"there is no label table at {path}; check the path") from None
        except UnicodeDecodeError as error:
            raise ModelError(
                f"{path} is not a label table: neither .npz nor GloVe text in UTF-8; "
                "name another file"
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise ModelError(f"{path} cannot be read as a label table: {error}") from error
        table = cls(names, _finite(vectors, source=str(path)), source=path.name)
        return table.centered() if center else table

    @classmethod
    def of_npz(cls, data: bytes, *, source: str) -> "LabelTable":
        """Return the table in the bytes of a `.npz`. Raises ModelError."""
        names, vectors = _read_npz(io.BytesIO(data), None, source=source)
        return cls(names, _finite(vectors, source=source), source=source)

    @property
    def dim(self) -> int:
        """D, the length of a label vector."""
        return int(self.vectors.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the names and the bytes of their vectors."""
        digest = hashlib.sha256("\0".join(self.names).encode())
        digest.update(str(self.vectors.shape).encode())
        digest.update(np.ascontiguousarray(self.vectors, "<f4").tobytes())
        return digest.hexdigest()[:12]

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, label: str) -> bool:
        return bool(self._rows(label))

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32, each row of length 1. Raises UnknownLabel."""
        rows = [self._rows(label) for label in labels]
        unknown = [label for label, own in zip(labels, rows, strict=True) if not own]
        if unknown:
            raise UnknownLabel(self._unknown_message(unknown), frozenset(unknown))
        vectors = [self.vectors[own].mean(axis=0) for own in rows]
        return unit(np.array(vectors, np.float32).reshape(len(labels), self.dim))

    def centered(self) -> "LabelTable":
        """Return the table with the mean of its unit vectors subtracted from every row."""
        return LabelTable(self.names, self.vectors - self.vectors.mean(axis=0), source=self.source)

    def save(self, path: Path) -> None:
        """Write the table as `.npz` with the arrays `names` and `vectors` (float32)."""
        np.savez(path, names=np.array(self.names, np.str_), vectors=self.vectors)

    def _rows(self, label: str) -> list[int]:
        """Return the rows whose mean is the vector of the label; empty for an unknown label."""
        row = self._exact.get(label)
        loose = _loosen(label)
        if row is None:
            row = self._loose.get(loose)
        if row is not None:
            return [row]
        words = [self._loose.get(word) for word in loose.split()]
        known = [word for word in words if word is not None]
        return known if len(known) == len(words) else []

    def _unknown_message(self, unknown: Sequence[str]) -> str:
        shown = ", ".join(self._with_nearest(label) for label in unknown[:5])
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        known = f"{self.source} has only its {len(self):,} labels"
        if len(unknown) == 1:
            return f"unknown label {shown}: {known}"
        return f"{len(unknown):,} unknown labels: {shown}{more}: {known}"

    def _with_nearest(self, label: str) -> str:
        # only names of about the same length: difflib is slow on a table of 400,000 words
        loose = _loosen(label)
        names = [name for name in self._loose if abs(len(name) - len(loose)) <= 3]
        nearest = difflib.get_close_matches(loose, names, n=3)
        if not nearest:
            return f'"{label}"'
        return (
            f'"{label}" (nearest: {", ".join(self.names[self._loose[name]] for name in nearest)})'
        )


def _unit_rows(vectors: Vector) -> Vector:
    """Scale rows to length 1; rows that already are stay bitwise equal, so files round-trip."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(np.abs(lengths - 1) < 1e-5, vectors, unit(vectors))


def _loosen(label: str) -> str:
    return " ".join(re.split(r"[\s_-]+", label_key(label))).strip()


def _merge_repeated(names: Sequence[str], vectors: Vector) -> tuple[tuple[str, ...], Vector]:
    """Merge equal names, in order of first appearance; each row is the unit mean of its rows."""
    first: dict[str, int] = {}
    rows = np.array([first.setdefault(name, len(first)) for name in names], np.int64)
    if len(first) == len(names):
        return tuple(names), vectors
    sums = np.zeros((len(first), vectors.shape[1]), np.float32)
    np.add.at(sums, rows, vectors)
    return tuple(first), unit(sums)


def _finite(vectors: Vector, *, source: str) -> Vector:
    if not np.isfinite(vectors).all():
        raise ModelError(f"{source} has vectors with NaN or infinity")
    return vectors


def _check_unpacked_size(file: IO[bytes]) -> None:
    """Raise ValueError for an archive that is far larger unpacked: numbers do not shrink so."""
    packed = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    file.seek(0)
    if unpacked > MOST_UNPACKED * packed + SMALL:
        raise ValueError(f"its {packed:,} bytes claim to be {unpacked:,}")


def _read_npz(file: IO[bytes], column: Column | None, *, source: str) -> tuple[list[str], Vector]:
    path = source
    try:
        _check_unpacked_size(file)
        with np.load(file, allow_pickle=False) as archive:
            columns = [column] if column else ["names", "words"]
            present = [name for name in columns if name in archive]
            if not present or "vectors" not in archive:
                needed = " or ".join(f'"{name}"' for name in columns)
                has = ", ".join(archive.files)
                raise ModelError(f'{path} needs the arrays {needed} and "vectors"; it has: {has}')
            names, vectors = archive[present[0]], archive["vectors"]
    except ModelError:
        raise
    except Exception as error:  # a damaged header raises nearly anything; pickles are never loaded
        raise ModelError(f"{path} cannot be read as a label table: {error}") from error
    if (
        names.ndim != 1
        or vectors.ndim != 2
        or len(names) != len(vectors)
        or vectors.dtype.kind != "f"
    ):
        raise ModelError(f"{path}: {len(names)} labels do not fit vectors {vectors.shape}")
    return [str(name) for name in names], vectors.astype(np.float32)


def _read_tensors(file: IO[bytes], path: Path) -> tuple[list[str], Vector]:
    """Read MKT's label vectors: a list of float tensors, or one (L, D), without their names.

    Raises:
        ModelError: it holds anything else, or the files beside it do not name as many labels.
    """
    import torch

    from mkt_search.models.student import unreadable

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        rows = torch.stack([row.detach().float().flatten() for row in found])
    except Exception as error:  # a file of another kind raises nearly anything
        raise ModelError(
            f"{path} cannot be read as a list of label vectors ({unreadable(error)})"
        ) from error
    names = [name for file_ in CONCEPTS for name in _names(path.with_name(file_))]
    if len(names) != len(rows):
        raise ModelError(
            f"{path} has {len(rows):,} label vectors without names, and {' and '.join(CONCEPTS)}"
            f" beside it name {len(names):,}; put the files of the dataset beside it"
        )
    return names, rows.numpy()


def _names(path: Path) -> list[str]:
    """Return the labels of a file, one a line; none if there is no such file."""
    if not path.is_file():
        return []
    lines = read_text(path, ModelError).splitlines()
    return [line.strip() for line in lines if line.strip()]


def _read_text(file: IO[bytes], path: Path) -> tuple[list[str], Vector]:
    """Read GloVe text: a word and its D numbers per line; skip a word2vec header line."""
    names: list[str] = []
    rows: list[Vector] = []
    dim = 0
    data: Any = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
    with io.TextIOWrapper(data, encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), ""), start=1):
            if len(line) == MAX_LINE:
                raise ModelError(f"{path}:{number}: the line is too long for a word and its vector")
            line = line.rstrip("\r\n ")
            if number == 1 and re.fullmatch(r"\d+ \d+", line):
                continue
            dim = dim or line.count(" ")
            name, *values = line.rsplit(
                " ", dim
            )  # from the right: a few GloVe words contain spaces
            row = _numbers(values)
            if not dim or len(row) != dim or not name:
                raise ModelError(f"{path}:{number}: expected a word and {dim or 'some'} numbers")
            names.append(name)
            rows.append(row)
    if not rows:
        raise ModelError(f"{path} is empty")
    return names, np.stack(rows)


def _numbers(texts: Sequence[str]) -> Vector:
    try:
        return np.array(texts, np.float32)
    except ValueError:
        return np.empty(0, np.float32)
