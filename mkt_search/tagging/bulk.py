"""Bulk tagging: every photo against every label of a vocabulary, from stored vectors alone.

Assignments stream through a spill file into one transaction: nothing in memory grows with the
photos, and other writers wait only while tags are written.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from mkt_search.errors import QueryError
from mkt_search.files import read_text
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.spelling import clean_label, distinct_labels, label_key
from mkt_search.store.catalog import TagCatalog
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.records import TagReport
from mkt_search.store.spill import SpillFile
from mkt_search.tagging.assign import Blocks, TagRule, assign_labels
from mkt_search.tagging.by_precision import ByPrecision
from mkt_search.types import Vector

MAX_VOCABULARY = 1 << 26  # bytes; a million labels have about 16 MB
MAX_LABEL = 1_000  # characters of a line
DELIMITERS = {".csv": ",", ".tsv": "\t"}
HEADING = "label"  # as `mkt tags --csv` writes it
KIND = "kind"  # of a label, such as "animal"
NO_VOCABULARY = (".json", ".jsonl", ".xml", ".yaml", ".yml")
"""Text whose lines would be taken for labels."""

SCORING, WRITING = "scoring photos", "writing tags"


def read_vocabulary(path: Path | str) -> list[str]:
    """Read labels, one a line; skip blank lines, comments that start with #, and repeats.

    A `.csv` or `.tsv` file gives its column `label`, or its only column.

    Raises:
        QueryError: the file cannot be read, is not UTF-8 text, holds no label, or is a table that
            does not say which column has the labels.
    """
    lines = read_text(Path(path), QueryError, at_most=MAX_VOCABULARY).splitlines()
    kind = Path(path).suffix.lower()
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
    return found


def read_kinds(path: Path | str) -> dict[str, str]:
    """Return the kind of each label: the column `kind` of a table; empty where there is none.

    Raises:
        QueryError: the file cannot be read.
    """
    kind = Path(path).suffix.lower()
    if kind not in DELIMITERS:
        return {}
    lines = read_text(Path(path), QueryError, at_most=MAX_VOCABULARY).splitlines()
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


def check_rule(*, top: int, threshold: float | None, labels: Sequence[str]) -> None:
    """Raise QueryError for a rule that would tag every photo with every label, or with none."""
    if not labels:
        raise QueryError("The vocabulary has no labels.")
    if top < 0:
        raise QueryError(f"--top {top} is negative; give a number of labels, or 0 for no limit.")
    if threshold is not None and math.isnan(threshold):
        raise QueryError("--threshold nan is not a number; give the lowest score of a tag.")
    if threshold is not None and threshold > 1:
        raise QueryError(f"--threshold {threshold:g} would tag nothing: no score is above 1.")
    if not top and threshold is None:
        raise QueryError(
            "Every label would go to every photo: say how many with --top N or how good with "
            "--threshold S."
        )


def check_precision(
    precision: float, *, top: int, threshold: float | None, labels: Sequence[str]
) -> None:
    """Raise QueryError for a precision that cannot be asked for."""
    if not 0 < precision <= 1:
        raise QueryError(f"--precision {precision:g} is none: name one above 0, up to 1.")
    if threshold is not None:
        raise QueryError("--precision takes the place of --threshold; leave one of them out.")
    check_rule(top=top, threshold=0.0, labels=labels)


def tag(
    catalog: TagCatalog,
    snapshot: Snapshot,
    labels: Sequence[str],
    vectors: Vector,
    *,
    rule: TagRule,
    blocks: Blocks,
    run: int | None,
    spill_folder: Path,
    by_precision: ByPrecision | None = None,
    progress: ProgressCallback = no_progress,
) -> TagReport:
    """Assign labels to every photo, then replace these labels' automatic tags in one transaction.

    Args:
        catalog: keeps the tags.
        snapshot: the stored vectors.
        labels: L, each once.
        vectors: (L, D), of the labels.
        rule: which labels a photo gets.
        blocks: what is scored together.
        run: the run that the tags belong to; None writes nothing and reports what would change.
        spill_folder: where assignments wait on disk until all are known.
        by_precision: chooses among what the rule gives.
        progress: called as work advances.

    Raises:
        StoreError: the disk is full or cannot be written; the tags are as they were.
    """
    with SpillFile(spill_folder) as spill:
        done, total = 0, snapshot.facts.photos
        progress(Progress(SCORING, done, total))
        for content_ids, found in assign_labels(snapshot, vectors, rule, blocks):
            spill.add(content_ids[found.photos], found.labels, found.scores)
            if by_precision is not None:
                by_precision.count(found.labels, found.scores)
            done += len(content_ids)
            progress(Progress(SCORING, done, total))
        if by_precision is None:
            return _keep(catalog, labels, spill, run, progress)
        with SpillFile(spill_folder) as chosen:
            expected = by_precision.choose(spill, chosen)
            sentence = f"{expected.wrong:,.3g} of {expected.photos:,} tags are expected to be wrong"
            progress(Progress(SCORING, message=sentence))
            return _keep(catalog, labels, chosen, run, progress)


def _keep(
    catalog: TagCatalog,
    labels: Sequence[str],
    spill: SpillFile,
    run: int | None,
    progress: ProgressCallback,
) -> TagReport:
    """Write assignments as the tags of a run; without one, report what would change."""
    if run is None:
        return catalog.preview_tag_run(labels, spill)
    return catalog.apply_tag_run(run, labels, spill, step=WRITING, progress=progress)
