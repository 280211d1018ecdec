"""The queries about tags. A run never touches what a person set, and can be taken back whole.

A run over a vocabulary speaks for every label in it: it adds, keeps and removes the automatic tags
of these labels. What it replaces stays, marked with the run that replaced it, and comes back when
that run is taken back.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import Session, aliased

from mkt_search.paths import text_to_path
from mkt_search.store.sql.photos import filtered, in_pieces, now
from mkt_search.store.sql.schema import LabelRow, Photo, Root, RunRow, TagRow
from mkt_search.types import Filters, Source, Tag

ROWS_AT_ONCE = 10_000  # tags handed to the database together: a run over a million photos has more


@dataclass(frozen=True)
class TagChange:
    """What a run does, or undoes, to the current automatic tags."""

    added: int = 0
    removed: int = 0
    kept: int = 0


def label_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return the id of every label, adding those that are new."""
    ids = known_label_ids(session, names)
    new = [name for name in sorted(set(names)) if name not in ids]
    if new:
        session.execute(insert(LabelRow), [{"name": name} for name in new])
    return ids | known_label_ids(session, new)


def known_label_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return the ids of those labels that the library has met in a tag or in a run."""
    ids: dict[str, int] = {}
    for piece in in_pieces(sorted(set(names))):
        rows = session.execute(select(LabelRow.name, LabelRow.id).where(LabelRow.name.in_(piece)))
        ids.update((name, id_) for name, id_ in rows)
    return ids


def count_auto(session: Session, labels: Iterable[int]) -> int:
    """Count the current automatic tags of some labels."""
    count = 0
    for piece in in_pieces(list(labels)):
        count += _count(session, *_auto(piece))
    return count


def auto_pairs(
    session: Session, photos: Sequence[int], superseded_by: int | None
) -> Iterator[tuple[int, int]]:
    """Yield (photo id, label id) of the automatic tags of some photos: those current, or those
    that a run put aside."""
    for piece in in_pieces(photos):
        rows = session.execute(
            select(TagRow.photo_id, TagRow.label_id)
            .where(
                TagRow.photo_id.in_(piece),
                TagRow.source == "auto",
                TagRow.superseded_by == superseded_by,  # None becomes IS NULL
            )
            .execution_options(yield_per=ROWS_AT_ONCE)
        )
        yield from ((photo, label) for photo, label in rows)


def supersede(session: Session, labels: Iterable[int], run: int) -> int:
    """Put the current automatic tags of some labels aside for a run; return how many there were."""
    count = 0
    for piece in in_pieces(list(labels)):
        done = session.execute(update(TagRow).where(*_auto(piece)).values(superseded_by=run))
        count += cast(CursorResult[Any], done).rowcount
    return count


def _auto(labels: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    """The conditions on a current automatic tag of some labels, on a photo that can be found."""
    return (
        TagRow.source == "auto",
        TagRow.superseded_by.is_(None),
        TagRow.label_id.in_(labels),
        exists().where(Photo.id == TagRow.photo_id, Photo.state == "indexed"),
    )


def add_auto(session: Session, run: int, tags: Iterable[tuple[int, int, float]]) -> None:
    """Add a run's tags, (photo id, label id, score)."""
    every = {"source": "auto", "run_id": run, "created_at": now()}
    rows = (
        {"photo_id": photo, "label_id": label, "score": score, **every}
        for photo, label, score in tags
    )
    while some := list(islice(rows, ROWS_AT_ONCE)):
        session.connection().execute(insert(TagRow), some)  # no objects


def take_back(session: Session, run: int, covered: dict[int, set[int]]) -> TagChange:
    """Delete a run's tags and bring back those it replaced.

    Args:
        session: an open transaction.
        run: the run to take back.
        covered: the label ids each later run speaks for; a tag such a run would have replaced
            too comes back as replaced by it.
    """
    before = _count(session, TagRow.run_id == run, TagRow.superseded_by.is_(None))
    heirs = _heirs(session, run, covered)
    after = kept = 0
    for piece in in_pieces(heirs.get(None, [])):
        returning = (TagRow.superseded_by == run, TagRow.label_id.in_(piece))
        after += _count(session, *returning)
        kept += _count(session, *returning, _has_tag_of(run))
    session.execute(delete(TagRow).where(TagRow.run_id == run))
    for heir, labels in heirs.items():
        for piece in in_pieces(labels):
            replaced = (TagRow.superseded_by == run, TagRow.label_id.in_(piece))
            session.execute(update(TagRow).where(*replaced).values(superseded_by=heir))
    session.execute(update(RunRow).where(RunRow.id == run).values(outcome="reverted"))
    return TagChange(after - kept, before - kept, kept)


def _count(session: Session, *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(TagRow).where(*conditions)) or 0


def _has_tag_of(run: int) -> ColumnElement[bool]:
    """The condition that a tag's photo and label have a current tag of a run."""
    other = aliased(TagRow)
    return exists().where(
        other.photo_id == TagRow.photo_id,
        other.label_id == TagRow.label_id,
        other.source == "auto",
        other.superseded_by.is_(None),
        other.run_id == run,
    )


def _heirs(session: Session, run: int, covered: dict[int, set[int]]) -> dict[int | None, list[int]]:
    """Return the labels of the tags a run replaced, by the later run that would have, or None."""
    labels = select(TagRow.label_id).where(TagRow.superseded_by == run).distinct()
    found: dict[int | None, list[int]] = {}
    for label in session.scalars(labels):
        heir = min((other for other, theirs in covered.items() if label in theirs), default=None)
        found.setdefault(heir, []).append(label)
    return found


def add_by_hand(
    session: Session, photos: Sequence[int], label: str, source: Source = "human"
) -> int:
    """Tag photos as a person asks; return how many did not have the tag from a person yet."""
    label_id = label_ids(session, [label])[label]
    present: set[int] = set()
    for piece in in_pieces(photos):
        present.update(
            session.scalars(
                select(TagRow.photo_id).where(
                    TagRow.photo_id.in_(piece),
                    TagRow.label_id == label_id,
                    TagRow.source == source,
                    TagRow.superseded_by.is_(None),
                )
            )
        )
    new = [photo for photo in dict.fromkeys(photos) if photo not in present]
    session.add_all(
        TagRow(photo_id=photo, label_id=label_id, source=source, created_at=now()) for photo in new
    )
    return len(new)


def remove_by_hand(session: Session, photos: Sequence[int], label: str) -> int:
    """Remove a label from photos, whoever set it; return how many had it.

    A tag that a run had put aside goes too, so that taking the run back does not restore it.
    """
    removed: set[int] = set()
    for piece in in_pieces(photos):
        rows = session.scalars(
            select(TagRow)
            .join(LabelRow, LabelRow.id == TagRow.label_id)
            .where(
                TagRow.photo_id.in_(piece),
                LabelRow.name == label,
            )
        )
        for tag in rows:
            if tag.superseded_by is None:
                removed.add(tag.photo_id)
            session.delete(tag)
    return len(removed)


def listed(
    session: Session,
    *,
    label: str | None = None,
    source: str | None = None,
    run: int | None = None,
    filters: Filters | None = None,
) -> Iterator[Tag]:
    """Yield the current tags by photo, best score first."""
    query = (
        select(Root.path, Photo.path, LabelRow.name, TagRow.score, TagRow.source, TagRow.run_id)
        .select_from(TagRow)
        .join(Photo, Photo.id == TagRow.photo_id)
        .join(Root, Root.id == Photo.root_id)
        .join(LabelRow, LabelRow.id == TagRow.label_id)
        .where(TagRow.superseded_by.is_(None))
        .order_by(Root.path, Photo.path, func.coalesce(TagRow.score, 1e9).desc(), LabelRow.name)
    )
    if label is not None:
        query = query.where(LabelRow.name == label)
    if source is not None:
        query = query.where(TagRow.source == source)
    if run is not None:
        query = query.where(TagRow.run_id == run)
    if filters is not None:
        query = filtered(query, filters)
    for root, path, name, score, source_, run_id in session.execute(
        query.execution_options(yield_per=1000)
    ):
        yield Tag(
            text_to_path(root) / text_to_path(path), name, score, cast(Source, source_), run_id
        )


def counts(session: Session) -> dict[str, int]:
    """Count the current tags by source."""
    rows = session.execute(
        select(TagRow.source, func.count())
        .where(TagRow.superseded_by.is_(None))
        .group_by(TagRow.source)
    )
    return Counter({source: number for source, number in rows})


def forget_photos(session: Session, photos: Sequence[int]) -> None:
    """Delete every tag of some photos."""
    for piece in in_pieces(photos):
        session.execute(delete(TagRow).where(TagRow.photo_id.in_(piece)))


def forget_unused_labels(session: Session) -> None:
    """Delete labels that no tag names."""
    session.execute(delete(LabelRow).where(~exists().where(TagRow.label_id == LabelRow.id)))
