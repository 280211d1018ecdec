"""Bulk tagging: every photo against every label of a vocabulary, from stored vectors alone.

Assignments stream through a spill file into one transaction: nothing in memory grows with the
photos, and other writers wait only while tags are written.
"""

from collections.abc import Sequence
from pathlib import Path

from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.catalog import TagCatalog
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.records import TagReport
from mkt_search.store.spill import SpillFile
from mkt_search.tagging.assign import Blocks, assign_labels
from mkt_search.tagging.choice import Choice
from mkt_search.tagging.examples import Examples
from mkt_search.types import Vector

SCORING, WRITING = "scoring photos", "writing tags"


def tag(
    catalog: TagCatalog,
    snapshot: Snapshot,
    labels: Sequence[str],
    vectors: Vector,
    *,
    choice: Choice,
    blocks: Blocks,
    run: int | None,
    spill_folder: Path,
    examples: Examples | None = None,
    progress: ProgressCallback = no_progress,
) -> TagReport:
    """Assign labels to every photo, then replace these labels' automatic tags in one transaction.

    Args:
        catalog: keeps the tags.
        snapshot: the stored vectors.
        labels: L, each once.
        vectors: (L, D), of the labels.
        choice: which labels a photo gets.
        blocks: what is scored together.
        run: the run that the tags belong to; None writes nothing and reports what would change.
        spill_folder: where assignments wait on disk until all are known.
        examples: finds photos of each label among the tags.
        progress: called as work advances.

    Raises:
        StoreError: the disk is full or cannot be written; the tags are as they were.
    """
    probabilities, by_precision = choice.probabilities, choice.by_precision
    with SpillFile(spill_folder) as spill:
        done, total = 0, snapshot.facts.photos
        progress(Progress(SCORING, done, total))
        for content_ids, found in assign_labels(snapshot, vectors, choice.rule, blocks):
            p = None if probabilities is None else probabilities.of(found.labels, found.scores)
            spill.add(content_ids[found.photos], found.labels, found.scores, p)
            if by_precision is not None and p is not None:
                by_precision.count(found.labels, p)
            done += len(content_ids)
            progress(Progress(SCORING, done, total))
        if by_precision is None:
            return _keep(catalog, labels, spill, run, examples, progress)
        with SpillFile(spill_folder) as chosen:
            expected = by_precision.choose(spill, chosen)
            sentence = f"{expected.wrong:,.3g} of {expected.photos:,} tags are expected to be wrong"
            progress(Progress(SCORING, message=sentence))
            return _keep(catalog, labels, chosen, run, examples, progress)


def _keep(
    catalog: TagCatalog,
    labels: Sequence[str],
    spill: SpillFile,
    run: int | None,
    examples: Examples | None,
    progress: ProgressCallback,
) -> TagReport:
    """Write assignments as the tags of a run; without one, report what would change."""
    if examples is not None:
        examples.find(spill)
    if run is None:
        return catalog.preview_tag_run(labels, spill)
    return catalog.apply_tag_run(run, labels, spill, step=WRITING, progress=progress)
