"""A tag run: replace the automatic tags of its labels, preview that, or revert it.

Assignments, photos and tags pass through in pieces, so memory does not grow with the library.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.store.records import RunInfo, TagReport
from mkt_search.store.spill import Records, SpillFile
from mkt_search.store.sql import auto_tags, refusals, runs, tags
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.auto_tags import NewTag

ASSIGNMENTS_PER_PIECE = 10_000
UNKNOWN = -1  # the id of a label that no tag ever had


def apply(
    session: Session,
    assignments: SpillFile,
    labels: Sequence[str],
    run: int,
    *,
    step: str,
    progress: ProgressCallback,
    pieces_of: int = ASSIGNMENTS_PER_PIECE,
) -> TagReport:
    """Replace the current automatic tags of labels by assignments, and end the run.

    The outcome of the run is part of the same commit, because reverting relies on it.

    Args:
        session: an open transaction.
        assignments: content ids, numbers of labels, and scores.
        labels: the labels the run covers, each once.
        run: the run under way.
        step: what the step is called in progress events.
        progress: called after each piece.
        pieces_of: assignments handled together.
    """
    ids = tags.label_ids(session, labels)
    before = auto_tags.supersede(session, ids.values(), run)
    tally, done = Tally(labels, ids, before, refusals.of_labels(session, ids.values())), 0
    for records in assignments.pieces(pieces_of):
        auto_tags.add(session, run, tally.add(session, records, superseded_by=run))
        done += len(records)
        progress(Progress(step, done, len(assignments)))
    report = tally.report(session, run)
    runs.end(session, run, "done", {**asdict(report), "by_label": {}})
    return report


def preview(session: Session, assignments: SpillFile, labels: Sequence[str]) -> TagReport:
    """Return what `apply` would, and change nothing."""
    ids = tags.known_label_ids(session, labels)
    before = auto_tags.count(session, ids.values())
    tally = Tally(labels, ids, before, refusals.of_labels(session, ids.values()))
    for records in assignments.pieces(ASSIGNMENTS_PER_PIECE):
        tally.add(session, records, superseded_by=None)
    return tally.report(session, None)


def check(session: Session, run: int) -> None:
    """Raise QueryError if there is no such tag run."""
    _tag_runs(session, run)


def _tag_runs(session: Session, wanted: int) -> dict[int, RunInfo]:
    """Return every tag run by id. Raises QueryError if the wanted one is not among them."""
    found = {info.id: info for info in runs.listed(session) if info.kind == "tag"}
    if wanted not in found:
        known = ", ".join(map(str, found)) or "none"
        raise QueryError(f"There is no tag run {wanted}; tag runs: {known}.")
    return found


def revert(session: Session, run: int) -> TagReport:
    """Delete the tags of a run and restore those it replaced; tags set by hand stay.

    Raises:
        QueryError: there is no such run, or it was reverted before.
    """
    tag_runs = _tag_runs(session, run)
    info = tag_runs[run]
    if info.outcome == "reverted":
        raise QueryError(f"Run {run} was taken back already.")
    later = {
        other.id: set(tags.label_ids(session, other.settings["labels"]).values())
        for other in tag_runs.values()
        if other.id > run and other.outcome == "done"
    }
    change = auto_tags.revert(session, run, later)
    runs.set_reverted(session, run)
    tags.delete_unused_labels(session)
    return TagReport(
        run=run,
        photos=0,
        labels=len(info.settings["labels"]),
        added=change.added,
        removed=change.removed,
        kept=change.kept,
    )


class Tally:
    """Counts the tags of a run, piece by piece, and compares them with those it replaces."""

    def __init__(
        self,
        labels: Sequence[str],
        ids: dict[str, int],
        before: int,
        refused: Collection[tuple[int, int]],
    ) -> None:
        """Start to count.

        Args:
            labels: the labels of the run.
            ids: the ids of those that are known.
            before: how many tags the run replaces.
            refused: (content id, label id) of what a person removed.
        """
        self._labels = labels
        self._ids = [ids.get(label, UNKNOWN) for label in labels]
        self._before = before
        self._refused = refused
        self._refused_tags = 0
        self._assigned = np.zeros(len(labels), np.int64)
        self._kept = 0

    def add(self, session: Session, records: Records, *, superseded_by: int | None) -> list[NewTag]:
        """Count assignments; return a tag for every indexed photo of those not refused.

        Args:
            session: reads the photos, and their earlier tags.
            records: a piece of a spill file.
            superseded_by: the run that replaced the earlier tags; None if they are current.
        """
        photos = photo_queries.ids_of_contents(session, np.unique(records["content"]).tolist())
        records = self._without_refused(records, photos)
        copies = [photos.get(content, ()) for content in records["content"].tolist()]
        self._assigned += np.bincount(
            np.repeat(records["label"], [len(some) for some in copies]),
            minlength=len(self._labels),
        )
        columns = (records[name].tolist() for name in ("label", "score", "p"))
        new: list[NewTag] = [
            (photo, self._ids[label], score, None if math.isnan(p) else p)
            for some, label, score, p in zip(copies, *columns, strict=True)
            for photo in some
        ]
        if self._before:
            self._kept += _count_kept(session, new, superseded_by)
        return new

    def _without_refused(self, records: Records, photos: Mapping[int, Sequence[int]]) -> Records:
        """Leave out refused assignments, and count their photos."""
        if not self._refused:
            return records
        pairs = zip(records["content"].tolist(), records["label"].tolist(), strict=True)
        is_refused = np.array([(c, self._ids[label]) in self._refused for c, label in pairs], bool)
        for content in records["content"][is_refused].tolist():
            self._refused_tags += len(photos.get(content, ()))
        allowed: Records = records[~is_refused]
        return allowed

    def report(self, session: Session, run: int | None) -> TagReport:
        """Return the counts."""
        assigned = self._assigned.tolist()
        return TagReport(
            run=run,
            photos=photo_queries.count_indexed(session),
            labels=len(self._labels),
            added=sum(assigned) - self._kept,
            removed=self._before - self._kept,
            kept=self._kept,
            refused=self._refused_tags,
            by_label=dict(zip(self._labels, assigned, strict=True)),
        )


def _count_kept(session: Session, new: Sequence[NewTag], superseded_by: int | None) -> int:
    """Count the new tags whose photo had the label before."""
    after = {(photo, label) for photo, label, *_ in new}
    photos = list({photo for photo, _ in after})
    before = auto_tags.pairs(session, photos, superseded_by=superseded_by)
    return sum(pair in after for pair in before)
