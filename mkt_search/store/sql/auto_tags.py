"""Queries about the automatic tags of runs.

A run covers every label of its vocabulary: it replaces all automatic tags of these labels. A
replaced tag stays in the table; its `superseded_by` is the run that replaced it. Reverting that run
makes it current again, unless a later run covers its label: then that run is what superseded it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from mkt_search.store.sql.schema import Photo, TagRow
from mkt_search.store.sql.statements import in_pieces, now

TAGS_PER_STATEMENT = 10_000

NewTag = tuple[int, int, float, float | None]
"""Photo id, label id, score, and the probability if it is known."""


@dataclass(frozen=True)
class TagChange:
    """How current automatic tags changed."""

    added: int = 0
    removed: int = 0
    kept: int = 0


def count(session: Session, labels: Iterable[int]) -> int:
    """Count the current tags of labels on indexed photos."""
    return sum(_count(session, *_current(piece)) for piece in in_pieces(list(labels)))


def supersede(session: Session, labels: Iterable[int], run: int) -> int:
    """Mark the current tags of labels on indexed photos as replaced by a run; return how many."""
    replaced = 0
    for piece in in_pieces(list(labels)):
        done = session.execute(update(TagRow).where(*_current(piece)).values(superseded_by=run))
        replaced += cast(CursorResult[Any], done).rowcount
    return replaced


def add(session: Session, run: int, tags: Iterable[NewTag]) -> None:
    """Add the tags of a run."""
    same = {"source": "auto", "run_id": run, "created_at": now()}
    rows = (
        {"photo_id": photo, "label_id": label, "score": score, "p": p, **same}
        for photo, label, score, p in tags
    )
    while some := list(islice(rows, TAGS_PER_STATEMENT)):
        session.connection().execute(insert(TagRow), some)


def pairs(
    session: Session, photos: Sequence[int], *, superseded_by: int | None
) -> Iterator[tuple[int, int]]:
    """Yield (photo id, label id) of tags of photos: those a run replaced, or the current ones."""
    for piece in in_pieces(photos):
        query = select(TagRow.photo_id, TagRow.label_id).where(
            TagRow.photo_id.in_(piece),
            TagRow.source == "auto",
            TagRow.superseded_by == superseded_by,  # SQLAlchemy makes "IS NULL" of None
        )
        with session.execute(query.execution_options(yield_per=TAGS_PER_STATEMENT)) as rows:
            yield from ((photo, label) for photo, label in rows)


def revert(session: Session, run: int, later: Mapping[int, set[int]]) -> TagChange:
    """Delete the tags of a run and restore those it replaced.

    Args:
        session: an open transaction.
        run: the run to revert.
        later: the label ids that each later run covers.
    """
    removed = _count(session, TagRow.run_id == run, TagRow.superseded_by.is_(None))
    heirs = _heirs(session, run, later)
    added = kept = 0
    for piece in in_pieces(heirs.get(None, [])):
        returning = (TagRow.superseded_by == run, TagRow.label_id.in_(piece))
        added += _count(session, *returning)
        kept += _count(session, *returning, _has_current_tag_of(run))
    session.execute(delete(TagRow).where(TagRow.run_id == run))
    for heir, labels in heirs.items():
        for piece in in_pieces(labels):
            replaced = (TagRow.superseded_by == run, TagRow.label_id.in_(piece))
            session.execute(update(TagRow).where(*replaced).values(superseded_by=heir))
    return TagChange(added - kept, removed - kept, kept)


def _current(labels: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on a current tag of labels on an indexed photo."""
    return (
        TagRow.source == "auto",
        TagRow.superseded_by.is_(None),
        TagRow.label_id.in_(labels),
        exists().where(Photo.id == TagRow.photo_id, Photo.state == "indexed"),
    )


def _count(session: Session, *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(TagRow).where(*conditions)) or 0


def _has_current_tag_of(run: int) -> ColumnElement[bool]:
    """Return the condition that the photo of a tag has the same label from a run, too."""
    other = aliased(TagRow)
    return exists().where(
        other.photo_id == TagRow.photo_id,
        other.label_id == TagRow.label_id,
        other.source == "auto",
        other.superseded_by.is_(None),
        other.run_id == run,
    )


def _heirs(
    session: Session, run: int, later: Mapping[int, set[int]]
) -> dict[int | None, list[int]]:
    """Group the labels whose tags a run replaced by the next run that covers them, or None."""
    labels = select(TagRow.label_id).where(TagRow.superseded_by == run).distinct()
    heirs: dict[int | None, list[int]] = {}
    for label in session.scalars(labels):
        heir = min((other for other, theirs in later.items() if label in theirs), default=None)
        heirs.setdefault(heir, []).append(label)
    return heirs
