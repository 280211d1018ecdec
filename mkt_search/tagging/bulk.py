"""Bulk tagging: every photo against every label of a vocabulary, from stored vectors alone.

What is chosen streams through a file into one transaction, so nothing in memory grows with the
photos, and the database is closed to other writers only while tags are written.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mkt_search.errors import QueryError
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.records import TagReport
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.spill import SpillFile
from mkt_search.tagging.assign import Blocks, TagRule, picks
from mkt_search.types import Vector

SCORING, WRITING = "scoring photos", "writing tags"


def read_vocabulary(path: Path) -> list[str]:
    """Read labels, one a line; blank lines and lines that start with # are left out, repeats too.

    Raises QueryError when the file cannot be read, is not text, or holds no label.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise QueryError(f"Cannot read the vocabulary {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise QueryError(
            f"The vocabulary {path} is not UTF-8 text (byte {error.start}). Write one label a line."
        ) from error
    labels = dict.fromkeys(line.strip() for line in lines)
    found = [label for label in labels if label and not label.startswith("#")]
    if not found:
        raise QueryError(f"The vocabulary {path} has no labels. Write one a line.")
    return found


def check_choice(*, top: int, threshold: float | None, labels: Sequence[str]) -> None:
    """Raise QueryError when the choice would tag every photo with every label, or with none."""
    if not labels:
        raise QueryError("The vocabulary has no labels.")
    if top < 0:
        raise QueryError(f"--top {top} makes no sense: name a number of labels, or 0 for any.")
    if not top and threshold is None:
        raise QueryError(
            "Every label would go to every photo: say how many with --top N or how good with "
            "--threshold S."
        )


def tag(
    index: LocalSnapshot,
    labels: Sequence[str],
    vectors: Vector,
    *,
    choice: TagRule,
    blocks: Blocks,
    run: int | None,
    progress: ProgressCallback = no_progress,
) -> TagReport:
    """Choose labels for every photo, then replace these labels' automatic tags in one transaction.

    Neither photos nor their tags are gathered in memory: what is chosen waits in a file.

    Args:
        index: the library's vectors.
        labels: L, each once.
        vectors: (L, D), of the labels.
        choice: which labels a photo gets.
        blocks: what is worked on together.
        run: the run that the tags are of; None writes nothing and reports what would change.
        progress: called as work advances.

    Raises:
        StoreError: the disk is full or cannot be written; the tags are as they were.
    """
    store = index.store
    with SpillFile(store.directory) as spool:
        done, total = 0, int(np.count_nonzero(index.live))
        progress(Progress(SCORING, done, total))
        for slots, some in picks(index, vectors, choice, blocks):
            spool.add(index.contents[slots[some.rows]], some.labels, some.scores)
            done += len(slots)
            progress(Progress(SCORING, done, total))
        if run is None:
            return store.catalog.preview_tag_run(labels, spool)
        return store.catalog.apply_tag_run(run, labels, spool, step=WRITING, progress=progress)
