"""Bulk tagging: every photo against every label of a vocabulary, from stored vectors alone.

Assignments stream through a spill file into one transaction: nothing in memory grows with the
photos, and other writers wait only while tags are written.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from mkt_search.errors import QueryError
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.catalog import TagCatalog
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.records import TagReport
from mkt_search.store.spill import SpillFile
from mkt_search.tagging.assign import Blocks, TagRule, assign_labels
from mkt_search.tagging.by_precision import ByPrecision, LabelProbabilities
from mkt_search.types import Vector

SCORING, WRITING = "scoring photos", "writing tags"


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
    probabilities: LabelProbabilities | None = None,
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
        probabilities: of the labels, kept with the tags; None if they are not known.
        by_precision: chooses among what the rule gives, by `probabilities`.
        progress: called as work advances.

    Raises:
        StoreError: the disk is full or cannot be written; the tags are as they were.
    """
    with SpillFile(spill_folder) as spill:
        done, total = 0, snapshot.facts.photos
        progress(Progress(SCORING, done, total))
        for content_ids, found in assign_labels(snapshot, vectors, rule, blocks):
            p = None if probabilities is None else probabilities.of(found.labels, found.scores)
            spill.add(content_ids[found.photos], found.labels, found.scores, p)
            if by_precision is not None and p is not None:
                by_precision.count(found.labels, p)
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
