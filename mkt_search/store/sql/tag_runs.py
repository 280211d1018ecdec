"""What a tag run does to the tags of a library: replace those of its labels, and be taken back.

Photos and tags pass through in pieces; nothing here grows with the tags of a library.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.store.records import TagReport
from mkt_search.store.spill import Records, SpillFile
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql import runs, tags

PICKS_AT_ONCE = 10_000  # tags counted and handed to the database together
NEW = -1  # stands for the id of a label that no photo was ever tagged with

Tags = Sequence[tuple[int, int, float]]  # photo id, label id, score


def replace(
    session: Session,
    spool: SpillFile,
    labels: Sequence[str],
    run: int,
    *,
    step: str,
    progress: ProgressCallback,
) -> TagReport:
    """Put the current automatic tags of some labels aside for those in the spool, and end the run.

    The outcome is part of the commit: `untag` relies on it, whatever comes after.

    Args:
        session: an open transaction.
        spool: content ids, places among the labels, and scores.
        labels: what the run speaks for, each once.
        run: the run under way.
        progress: called as work advances.
    """
    ids = tags.label_ids(session, labels)
    before = tags.supersede(session, ids.values(), run)
    tally, done = Tally(labels, ids, before), 0
    for records in spool.pieces(PICKS_AT_ONCE):
        rows = tally.add(session, records, superseded_by=run)
        tags.add_auto(session, run, rows)
        done += len(records)
        progress(Progress(step, done, len(spool)))
    report = tally.report(session, run)
    runs.end_run(session, run, "done", {**asdict(report), "by_label": {}})
    return report


def compare(session: Session, spool: SpillFile, labels: Sequence[str]) -> TagReport:
    """Return what `replace` would, and change nothing."""
    ids = tags.known_label_ids(session, labels)
    tally = Tally(labels, ids, tags.count_auto(session, ids.values()))
    for records in spool.pieces(PICKS_AT_ONCE):
        tally.add(session, records, superseded_by=None)
    return tally.report(session, None)


class Tally:
    """Counts the tags of a run as they pass, against those that were there before."""

    def __init__(self, labels: Sequence[str], ids: dict[str, int], before: int) -> None:
        self._labels = labels
        self._ids = [ids.get(label, NEW) for label in labels]
        self._before = before
        self._given = np.zeros(len(labels), np.int64)
        self._kept = 0

    def add(self, session: Session, records: Records, *, superseded_by: int | None) -> Tags:
        """Take in records; return a tag for every indexed photo with the bytes of each.

        Args:
            session: for the photos, and for their earlier tags.
            records: of a spool.
            superseded_by: the run that put the earlier tags aside; None while they are current.
        """
        photos = photo_queries.photo_ids_of(session, np.unique(records["content"]).tolist())
        copies = [photos.get(content, ()) for content in records["content"].tolist()]
        self._given += np.bincount(
            np.repeat(records["label"], [len(some) for some in copies]),
            minlength=len(self._labels),
        )
        places = zip(copies, records["label"].tolist(), records["score"].tolist(), strict=True)
        rows = [(photo, self._ids[label], score) for some, label, score in places for photo in some]
        if self._before:
            self._kept += _kept(session, rows, superseded_by)
        return rows

    def report(self, session: Session, run: int | None) -> TagReport:
        """Return the counts."""
        given = self._given.tolist()
        return TagReport(
            run=run,
            photos=photo_queries.count_indexed(session),
            labels=len(self._labels),
            added=sum(given) - self._kept,
            removed=self._before - self._kept,
            kept=self._kept,
            by_label=dict(zip(self._labels, given, strict=True)),
        )


def _kept(session: Session, rows: Tags, superseded_by: int | None) -> int:
    """Count the tags whose photo and label were together before."""
    after = {(photo, label) for photo, label, _ in rows}
    photos = list({photo for photo, _ in after})
    return sum(pair in after for pair in tags.auto_pairs(session, photos, superseded_by))


def take_back(session: Session, run: int) -> TagReport:
    """Take a tag run back whole: its tags go, those it replaced return. Human tags stay.

    Raises:
        QueryError: there is no such run, or it was taken back already.
    """
    every = {info.id: info for info in runs.listed(session)}
    info = every.get(run)
    if info is None or info.kind != "tag":
        known = ", ".join(str(i.id) for i in every.values() if i.kind == "tag") or "none"
        raise QueryError(f"There is no tag run {run}; tag runs: {known}.")
    if info.outcome == "reverted":
        raise QueryError(f"Run {run} was taken back already.")
    later = [i for i in every.values() if i.kind == "tag" and i.id > run]
    covered = {
        i.id: set(tags.label_ids(session, i.settings["labels"]).values())
        for i in later
        if i.outcome == "done"
    }
    change = tags.take_back(session, run, covered)
    tags.forget_unused_labels(session)
    return TagReport(
        run=run,
        photos=0,
        labels=len(info.settings["labels"]),
        added=change.added,
        removed=change.removed,
        kept=change.kept,
    )
