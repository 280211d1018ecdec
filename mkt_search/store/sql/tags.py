"""Queries about labels and current tags: those of runs, and those that a person set.

A tag of a run is current while `superseded_by` is NULL; see `auto_tags` and `hand_tags`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import (
    Double,
    Integer,
    Select,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy import cast as cast_sql
from sqlalchemy.orm import Session

from mkt_search.paths import text_to_path
from mkt_search.spelling import distinct_labels, label_key
from mkt_search.store.records import LabelCount
from mkt_search.store.sql.filters import SHOWS_WORDS, filtered
from mkt_search.store.sql.schema import (
    DecisionRow,
    HandTagRow,
    JudgementRow,
    LabelRow,
    Photo,
    RefusalRow,
    Root,
    TagRow,
)
from mkt_search.store.sql.statements import in_pieces
from mkt_search.types import Filters, Source, Tag

TAGS_PER_FETCH = 1_000


def label_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return the id of every label, adding those that are new."""
    ids = known_label_ids(session, names)
    new = distinct_labels(name for name in names if name not in ids)
    if new:
        rows = [{"name": name, "key": label_key(name)} for name in sorted(new)]
        session.execute(insert(LabelRow), rows)
    return known_label_ids(session, names) if new else ids


def known_label_ids(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return the ids of labels; those that no run and no tag ever named are left out."""
    keys = {name: label_key(name) for name in names}
    ids: dict[str, int] = {}
    for piece in in_pieces(sorted(set(keys.values()))):
        rows = session.execute(select(LabelRow.key, LabelRow.id).where(LabelRow.key.in_(piece)))
        ids.update((key, id_) for key, id_ in rows)
    return {name: ids[key] for name, key in keys.items() if key in ids}


def labels_like(session: Session, prefix: str, *, count: int) -> list[str]:
    """Return the labels that begin so, by name."""
    begins = LabelRow.key.startswith(label_key(prefix), autoescape=True)
    return list(
        session.scalars(select(LabelRow.name).where(begins).order_by(LabelRow.name).limit(count))
    )


def delete_unused_labels(session: Session) -> None:
    """Delete labels that no tag, refusal, judgement and no decision that can be undone names."""
    is_named = [
        exists().where(table.label_id == LabelRow.id)
        for table in (TagRow, HandTagRow, RefusalRow, JudgementRow)
    ]
    is_decided = exists().where(
        DecisionRow.label_id == LabelRow.id, DecisionRow.undone_at.is_(None)
    )
    session.execute(delete(LabelRow).where(*(~one for one in (*is_named, is_decided))))


def delete_tags_of(session: Session, photos: Sequence[int]) -> int:
    """Delete all tags that runs gave to photos; return how many of them were current."""
    current = 0
    for piece in in_pieces(photos):
        of_photos = TagRow.photo_id.in_(piece)
        count = select(func.count()).select_from(TagRow)
        current += session.scalar(count.where(of_photos, TagRow.superseded_by.is_(None))) or 0
        session.execute(delete(TagRow).where(of_photos))
    return current


def current(
    session: Session,
    *,
    label: str | None = None,
    photo: int | None = None,
    source: str | None = None,
    run: int | None = None,
    filters: Filters | None = None,
) -> Iterator[Tag]:
    """Yield current tags by photo, best score first; tags without a score come before."""
    by_runs = (
        _shown(TagRow.score, TagRow.p, TagRow.source, TagRow.run_id)
        .join(TagRow, TagRow.photo_id == Photo.id)
        .join(LabelRow, LabelRow.id == TagRow.label_id)
        .where(TagRow.superseded_by.is_(None))
    )
    by_hand = (
        _shown(null(), null(), HandTagRow.source, null())
        .join(HandTagRow, HandTagRow.content_id == Photo.content_id)
        .join(LabelRow, LabelRow.id == HandTagRow.label_id)
        .where(SHOWS_WORDS)
    )
    if label is not None:
        key = label_key(label)
        by_runs, by_hand = (q.where(LabelRow.key == key) for q in (by_runs, by_hand))
    if photo is not None:
        by_runs, by_hand = (q.where(Photo.id == photo) for q in (by_runs, by_hand))
    if source is not None:
        by_runs = by_runs.where(TagRow.source == source)
        by_hand = by_hand.where(HandTagRow.source == source)
    if run is not None:
        by_runs, by_hand = by_runs.where(TagRow.run_id == run), by_hand.where(false())
    if filters is not None:
        by_runs, by_hand = filtered(by_runs, filters), filtered(by_hand, filters)
    found = union_all(by_runs, by_hand).subquery().c
    query = select(*found).order_by(
        found.root, found.path, func.coalesce(found.score, 1e9).desc(), found.label
    )
    with session.execute(query.execution_options(yield_per=TAGS_PER_FETCH)) as rows:
        for row in rows:
            file = text_to_path(row.root) / text_to_path(row.path)
            source_, is_missing = cast(Source, row.source), row.state == "missing"
            yield Tag(file, row.label, row.score, source_, row.run, is_missing, p=row.p)


def _shown(score: Any, p: Any, source: Any, run: Any) -> Select[*tuple[Any, ...]]:
    """Return the columns of a tag of a photo; the join with labels is still to be made."""
    return (
        select(
            Root.path.label("root"),
            Photo.path.label("path"),
            Photo.state.label("state"),
            LabelRow.name.label("label"),
            cast_sql(score, Double).label("score"),
            cast_sql(p, Double).label("p"),
            source.label("source"),
            cast_sql(run, Integer).label("run"),
        )
        .select_from(Photo)
        .join(Root, Root.id == Photo.root_id)
    )


def count_by_source(session: Session) -> dict[str, int]:
    """Count the current tags of each source, as they are listed."""
    by_runs = (
        select(TagRow.source, func.count())
        .where(TagRow.superseded_by.is_(None))
        .group_by(TagRow.source)
    )
    by_hand = (
        select(HandTagRow.source, func.count())
        .join(Photo, Photo.content_id == HandTagRow.content_id)
        .where(SHOWS_WORDS)
        .group_by(HandTagRow.source)
    )
    rows = [*session.execute(by_runs), *session.execute(by_hand)]
    return {source: number for source, number in rows}


def counts(session: Session) -> list[LabelCount]:
    """Return how many photos have each label, as tags and refusals are listed, by name."""
    by_runs = (
        select(TagRow.label_id, TagRow.source, func.count())
        .where(TagRow.superseded_by.is_(None))
        .group_by(TagRow.label_id, TagRow.source)
    )
    by_hand, refused = (
        select(row.label_id, source, func.count())
        .join(Photo, Photo.content_id == row.content_id)
        .where(SHOWS_WORDS)
        .group_by(row.label_id, source)
        for row, source in (
            (HandTagRow, HandTagRow.source),
            (RefusalRow, literal("refused")),
        )
    )
    found: dict[int, dict[str, int]] = {}
    for query in (by_runs, by_hand, refused):
        for label, source, number in session.execute(query):
            found.setdefault(label, {})[source] = number
    names = session.execute(select(LabelRow.id, LabelRow.name).order_by(LabelRow.name))
    return [LabelCount(name, **found[label]) for label, name in names if label in found]
