"""Read the files of a dataset; an error names the file and the line."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkt_search.datasets.dataset import STEP
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError
from mkt_search.files import open_regular
from mkt_search.files import read_text as read_text_of
from mkt_search.progress import Progress, ProgressCallback

MAX_BYTES = 2 * 10**9  # COCO's labels have 0.45 GB


def read_text(file: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DatasetError: the file cannot be read.
    """
    return read_text_of(file, DatasetError, at_most=MAX_BYTES)


def read_json(file: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        DatasetError: the file cannot be read or is not JSON; the text names the line.
    """
    return parse_json(read_text(file), file)


def parse_json(text: str, file: Path, *, line: int = 1) -> Any:
    """Return the value of JSON text that begins at a line of a file.

    Raises:
        DatasetError: it is not JSON; the text names the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{file}:{line + error.lineno - 1}"
        raise DatasetError(f"{place}: not JSON: {error.msg}.") from error
    except (ValueError, RecursionError):  # thousands of digits or brackets
        raise DatasetError(f"{file}:{line}: a value is far too long or too deep.") from None


def read_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each row of a CSV file, without loading it whole.

    Raises:
        DatasetError: the file cannot be read or is not CSV.
    """
    try:
        with (
            open_regular(file) as data,
            io.TextIOWrapper(data, encoding="utf-8-sig", newline="") as stream,
        ):
            rows = csv.reader(stream)
            for row in rows:
                yield rows.line_num, row
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} is not CSV in UTF-8: {error}.") from error


def require_folder(folder: Path) -> None:
    """Check that a photo folder exists.

    Raises:
        DatasetError: it does not.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}. Name the photos' folder with --photos.")


def require_photos(folder: Path, files: Sequence[str], *, named_by: Path) -> None:
    """Check that every photo is in the folder; `named_by` is the file that names them.

    Raises:
        DatasetError: some are missing.
    """
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing):,} of the {len(files):,} photos that {named_by} names are not in"
            f" {folder}, the first is {missing[0]!r}. Name their folder with --photos, or take"
            " them out of the file."
        )


def names_on_disk(
    folder: Path, names: Mapping[str, str], *, named_by: Path, progress: ProgressCallback
) -> list[str]:
    """Return the names of the photos whose file is in the folder, and report the missing ones.

    Args:
        folder: the folder of the files.
        names: file -> the dataset's name of the photo.
        named_by: the file that names the photos, for messages.
        progress: receives a remark about missing photos.

    Raises:
        DatasetError: all are missing.
    """
    missing = [file for file in names if not (folder / file).is_file()]
    if len(missing) == len(names):
        raise DatasetError(
            f"none of the {len(names):,} photos that {named_by} names is in {folder}; the first is"
            f" {missing[0]!r}. Name their folder with --photos."
        )
    if missing:
        left_out = f"left out {count_noun(len(missing), 'photo')} not in {folder}"
        progress(Progress(STEP, message=f"{left_out}: {first_few(missing)}"))
    absent = set(missing)
    return [name for file, name in names.items() if file not in absent]
