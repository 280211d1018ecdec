"""Export tags as CSV, JSON or Parquet: the same columns, streamed."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

from mkt_search.display import path_as_text
from mkt_search.errors import MktError, StoreError
from mkt_search.types import Tag

COLUMNS = ("path", "label", "score", "source", "run", "is_missing", "hierarchy", "p")
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""Spreadsheets compute a cell that begins with one of them."""

TAGS_PER_ROW_GROUP = 50_000  # of a Parquet file


def write(tags: Iterable[Tag], file: Path, *, raw: bool = False) -> int:
    """Write tags to a file in the format of its suffix; return how many.

    Args:
        tags: the tags.
        file: it is replaced.
        raw: leave cells of CSV as they are, see `write_csv`.

    Raises:
        MktError: the suffix is not .csv, .json or .parquet, or pyarrow is not installed.
        StoreError: the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return write_parquet(tags, file)
    if suffix not in (".csv", ".json"):
        raise MktError(f"{file}: tags are written as .csv, .json or .parquet.")
    try:
        with file.open("w", encoding="utf-8", newline="") as stream:
            return (
                write_json(tags, stream) if suffix == ".json" else write_csv(tags, stream, raw=raw)
            )
    except OSError as problem:
        raise StoreError(f"{file}: cannot be written ({problem.strerror}).") from None


def write_csv(tags: Iterable[Tag], file: IO[str], *, raw: bool = False) -> int:
    """Write tags below a line of headings; return how many. A missing score or run is empty.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, unless `raw`.
    """
    writer = csv.writer(file, lineterminator="\n")
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    count = 0
    for count, tag in enumerate(tags, start=1):  # noqa: B007
        cells = [cell if raw else _harmless(cell) for cell in as_data(tag).values()]
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoting if has_return else writer).writerow(cells)  # else csv would not quote it
    return count


def _harmless(cell: Any) -> Any:
    """Return a cell that no spreadsheet computes; numbers are not text and stay numbers."""
    is_formula = isinstance(cell, str) and cell.startswith(FORMULA_SIGNS)
    return f"'{cell}" if is_formula else cell


def write_json(tags: Iterable[Tag], file: IO[str]) -> int:
    """Write tags as a JSON array with one object a line; return how many."""
    count = 0
    for tag in tags:
        file.write(",\n " if count else "[\n ")
        file.write(json.dumps(as_data(tag), ensure_ascii=False, allow_nan=False))
        count += 1
    file.write("\n]\n" if count else "[]\n")
    return count


def write_parquet(
    tags: Iterable[Tag], file: Path, *, tags_per_row_group: int = TAGS_PER_ROW_GROUP
) -> int:
    """Write tags as a Parquet file, whole or not at all; return how many.

    Raises:
        MktError: pyarrow is not installed.
        StoreError: the file cannot be written.
    """
    pyarrow, parquet = _import_pyarrow()
    types = (
        pyarrow.string(),
        pyarrow.string(),
        pyarrow.float32(),
        pyarrow.string(),
        pyarrow.int64(),
        pyarrow.bool_(),
        pyarrow.string(),
        pyarrow.float32(),
    )
    schema = pyarrow.schema(list(zip(COLUMNS, types, strict=True)))
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    count = 0
    try:
        with unfinished.open("wb") as stream, parquet.ParquetWriter(stream, schema) as writer:
            for rows in _pieces(tags, tags_per_row_group):
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                count += len(rows)
        unfinished.replace(file)
    except OSError as problem:
        raise StoreError(f"{file}: cannot be written ({problem.strerror}).") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
    return count


def as_data(tag: Tag) -> dict[str, Any]:
    """Return a tag as plain values, in the order of `COLUMNS`."""
    path = path_as_text(tag.path)
    values = (path, tag.label, tag.score, tag.source, tag.run, tag.is_missing, tag.hierarchy, tag.p)
    return dict(zip(COLUMNS, values, strict=True))


def _pieces(tags: Iterable[Tag], size: int) -> Iterator[list[dict[str, Any]]]:
    rows = (as_data(tag) for tag in tags)
    while piece := list(islice(rows, size)):
        yield piece


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MktError(
            "Parquet needs pyarrow, which is not installed: run "
            "`pip install 'mkt-search[parquet]'`, or use --csv."
        ) from None
    return pyarrow, parquet
