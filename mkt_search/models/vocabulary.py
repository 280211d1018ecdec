"""Vocabularies: lists of labels from files of a person, or from those that ship with the package.

A vocabulary in the format of `labels.toml` brings the phrases, synonyms, parents and groups of its
labels along.
"""

import csv
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from mkt_search.display import printable
from mkt_search.errors import QueryError
from mkt_search.files import read_text
from mkt_search.models.label_file import LabelFile, read_label_file
from mkt_search.settings.setting import nearest
from mkt_search.spelling import clean_label, distinct_labels, label_key

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "vocabularies"
TABLES = ".toml"  # in the format of labels.toml
EVERYDAY = SHIPPED / f"everyday{TABLES}"
MAX_VOCABULARY = 1 << 26  # bytes; a million labels have about 16 MB
MAX_LABEL = 1_000  # characters of a line
DELIMITERS = {".csv": ",", ".tsv": "\t"}
HEADING = "label"  # as `mkt tags --csv` writes it
KIND = "kind"  # of a label, such as "animal"
NO_VOCABULARY = (".json", ".jsonl", ".xml", ".yaml", ".yml")
"""Text whose lines would be taken for labels."""


class Vocabulary(list[str]):
    """Labels, and what their file says of them; a text file says nothing."""

    def __init__(self, labels: Iterable[str], about: LabelFile | None = None) -> None:
        super().__init__(labels)
        self.about = about or LabelFile()


def about_labels(labels: Sequence[str], file: LabelFile) -> LabelFile:
    """Return what is said of labels: by the `labels.toml` in use, then by their vocabulary."""
    return file.with_phrases_of(labels.about) if isinstance(labels, Vocabulary) else file


def shipped_vocabularies() -> list[str]:
    """Return the names of the vocabularies that ship with the package."""
    return sorted(path.stem for path in SHIPPED.glob(f"*{TABLES}"))


def vocabulary_file(name: Path | str) -> Path:
    """Return the file of a vocabulary: a file of that name, or else one that ships.

    Raises:
        QueryError: there is neither.
    """
    path, text = Path(name), str(name)
    shipped = shipped_vocabularies()
    if text not in shipped:
        if path.suffix or path.name != text or path.exists():
            return path
        hint = nearest(text, shipped, "{}")
        raise QueryError(
            f'There is no file "{printable(text)}", and no vocabulary of that name ships{hint}'
        )
    if not path.is_file():
        return SHIPPED / f"{text}{TABLES}"
    log.warning(
        "The vocabulary is the file %s of this folder; rename it to use the one that ships.", text
    )
    return path


def read_vocabulary(path: Path | str) -> Vocabulary:
    """Read a vocabulary: labels, one a line, or the name of one that ships, such as "everyday".

    Blank lines, comments that start with #, and repeats are skipped. A `.csv` or `.tsv` file gives
    its column `label`, or its only column; a `.toml` file, in the format of `labels.toml`, a label
    for each table. A file comes before a vocabulary that ships.

    Raises:
        QueryError: the file cannot be read, is not UTF-8 text, holds no label, or is a table that
            does not say which column has the labels; or no vocabulary of that name ships.
        ConfigError: a `.toml` file says something else of a label.
    """
    path = vocabulary_file(path)
    kind = path.suffix.lower()
    if kind == TABLES:
        about = read_label_file(str(path))
        lines: Sequence[str] = about.labels
    else:
        about = LabelFile()
        lines = read_text(path, QueryError, at_most=MAX_VOCABULARY).splitlines()
    if kind in NO_VOCABULARY:
        raise QueryError(f"{path} is no vocabulary: write labels as text, one a line, or as .csv.")
    if kind in DELIMITERS:
        lines = _column(path, lines, DELIMITERS[kind])
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LABEL or "\0" in line:
            raise QueryError(f"{path}:{number}: not a label. Write one a line.")
    found = [label for label in distinct_labels(lines) if not label.startswith("#")]
    if not found:
        raise QueryError(f"The vocabulary {path} has no labels. Write one a line.")
    return Vocabulary(found, about)


def read_kinds(path: Path | str) -> dict[str, str]:
    """Return the kind of each label: the column `kind` of a table, or its group in a `.toml` file.

    Labels of which neither is given are left out.

    Raises:
        QueryError: the file cannot be read.
        ConfigError: a `.toml` file says something else of a label.
    """
    path = vocabulary_file(path)
    kind = path.suffix.lower()
    if kind == TABLES:
        about = read_label_file(str(path))
        of_label = {label: about.groups.get(label_key(label)) for label in about.labels}
        return {label: group for label, group in of_label.items() if group is not None}
    if kind not in DELIMITERS:
        return {}
    lines = read_text(path, QueryError, at_most=MAX_VOCABULARY).splitlines()
    try:
        rows = list(csv.reader(lines, delimiter=DELIMITERS[kind]))
    except csv.Error as error:
        raise QueryError(f"{path} cannot be read as a table ({error}).") from error
    headings = [label_key(cell) for cell in rows[0]] if rows else []
    if HEADING not in headings or KIND not in headings:
        return {}
    label, own = headings.index(HEADING), headings.index(KIND)
    return {
        clean_label(row[label]): clean_label(row[own])
        for row in rows[1:]
        if len(row) > max(label, own)
    }


def _column(path: Path | str, lines: Sequence[str], delimiter: str) -> list[str]:
    """Return the labels of a table. Raises QueryError unless one column has them."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if any(map(clean_label, row))]
    except csv.Error as error:
        raise QueryError(f"{path} cannot be read as a table ({error}).") from error
    headings = [label_key(cell) for cell in rows[0]] if rows else []
    if HEADING in headings:
        column = headings.index(HEADING)
        return [row[column] for row in rows[1:] if len(row) > column]
    if any(len(row) > 1 for row in rows):
        raise QueryError(
            f'{path} is a table and none of its columns has the heading "{HEADING}". Name the '
            "column with the labels so, or write one label a line in a .txt file."
        )
    return [row[0] for row in rows]
