"""Read the files of a dataset; what cannot be read is a sentence with its place."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError


def read_text(file: Path) -> str:
    """Return the text of a file the user named; a sentence where that fails."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"cannot read {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 text. Save it as UTF-8.") from error


def read_json(file: Path) -> Any:
    """Return the JSON of a file the user named; a sentence with the line where it breaks."""
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{file}:{error.lineno}: not JSON: {error.msg}.") from error


def read_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Give each line number and row of a CSV file, which is never all in memory."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream)
            for row in rows:
                yield rows.line_num, row
    except OSError as error:
        raise DatasetError(f"cannot read {file}: {error.strerror or error}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} is no CSV in UTF-8: {error}.") from error


def require_folder(folder: Path) -> None:
    """Refuse a photo folder that is not there."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}. Name the photos' folder with --photos.")


def require_photos(folder: Path, files: Sequence[str], *, named_by: Path) -> None:
    """Refuse a dataset of whose photos some are not in their folder."""
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing):,} of the {len(files):,} photos that {named_by} names are not in"
            f" {folder}, the first is {missing[0]!r}. Name their folder with --photos, or take"
            " them out of the file."
        )


def keep_there(
    folder: Path, names: Mapping[str, str], *, named_by: Path, say: Callable[[str], None]
) -> list[str]:
    """Return the names of the photos whose file is in the folder, and tell which are not.

    Args:
        folder: where the files are.
        names: file -> what the dataset calls the photo.
        named_by: what names them, for the sentence.
        say: hears what is left out.
    """
    missing = [file for file in names if not (folder / file).is_file()]
    if len(missing) == len(names):
        raise DatasetError(
            f"of the {len(names):,} photos that {named_by} names none is in {folder}, the first is"
            f" {missing[0]!r}. Name their folder with --photos."
        )
    if missing:
        say(f"left out {count_noun(len(missing), 'photo')} not in {folder}: {first_few(missing)}")
    away = set(missing)
    return [name for file, name in names.items() if file not in away]
