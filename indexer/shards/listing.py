"""Listings: the photos of a plan by path, from a text, CSV or Parquet file."""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from mkt_search.errors import PlanError
from mkt_search.paths import path_to_text

COLUMN = "path"


def read_listing(file: Path) -> Iterator[str]:
    """Yield the paths of a listing, as text of `path_to_text`.

    Args:
        file: a path a line, or a CSV (.csv) or Parquet (.parquet) file with a column `path`.

    Raises:
        PlanError: it cannot be read, or has no such column.
    """
    readers = {".csv": _csv, ".parquet": _parquet}
    try:
        names = readers.get(file.suffix.lower(), _lines)(file)
    except OSError as error:
        raise PlanError(f"{file}: cannot be read ({error.strerror or error}).") from error
    for name in names:
        yield path_to_text(os.fsencode(name) if isinstance(name, str) else name)


def _lines(file: Path) -> Iterable[bytes]:
    return [line for line in file.read_bytes().splitlines() if line]


def _csv(file: Path) -> Iterable[str]:
    try:
        rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    except (csv.Error, UnicodeDecodeError) as error:
        raise PlanError(f"{file}: not a CSV file in UTF-8 ({error}).") from error
    if rows and COLUMN not in rows[0]:
        raise PlanError(f"{file}: has no column `{COLUMN}`.")
    return [row[COLUMN] for row in rows if row[COLUMN]]


def _parquet(file: Path) -> Iterable[str]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise PlanError(
            'Parquet files need the extra `parquet`: pip install "mkt-search[parquet]".'
        ) from None
    try:
        if COLUMN not in parquet.read_schema(file).names:
            raise PlanError(f"{file}: has no column `{COLUMN}`.")
        column = parquet.read_table(file, columns=[COLUMN])[COLUMN]
    except pyarrow.ArrowException as error:
        raise PlanError(f"{file}: not a Parquet file ({error}).") from error
    return [str(name) for name in column.to_pylist() if name]
