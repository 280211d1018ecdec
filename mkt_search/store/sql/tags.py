"""Queries about labels and current tags, and the tags that a person sets by hand.

A tag is current while `superseded_by` is NULL; see `auto_tags`.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import cast

from sqlalchemy import delete, exists, func, insert, select
from sqlalchemy.orm import Session

from mkt_search.paths import text_to_path
from mkt_search.spelling import distinct_labels, label_key
from mkt_search.store.sql.contents import of_photos
from mkt_search.store.sql.filters import filtered
from mkt_search.store.sql.schema import LabelRow, Photo, RefusalRow, Root, TagRow
from mkt_search.store.sql.statements import in_pieces, now
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


def delete_unused_labels(session: Session) -> None:
    """Delete the labels that no tag and no refusal names."""
    is_set = exists().where(TagRow.label_id == LabelRow.id)
    is_refused = exists().where(RefusalRow.label_id == LabelRow.id)
    session.execute(delete(LabelRow).where(~is_set, ~is_refused))


def add_by_hand(
    session: Session, photos: Sequence[int], label: str, source: Source = "human"
) -> int:
    """Tag photos; return how many did not have the tag from this source yet."""
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
    """Remove a label from photos and their copies, whoever set it; return how many of them had it.

    Replaced tags go too, so that reverting a run does not restore them.
    """
    removed: set[int] = set()
    contents = sorted(of_photos(session, photos))
    copies = (
        session.scalars(select(Photo.id).where(Photo.content_id.in_(p)))
        for p in in_pieces(contents)
    )
    everywhere = {*photos, *chain.from_iterable(copies)}
    for piece in in_pieces(sorted(everywhere)):
        rows = session.scalars(
            select(TagRow)
            .join(LabelRow, LabelRow.id == TagRow.label_id)
            .where(TagRow.photo_id.in_(piece), LabelRow.key == label_key(label))
        )
        for tag in rows:
            if tag.superseded_by is None:
                removed.add(tag.photo_id)
            session.delete(tag)
    return len(removed.intersection(photos))


def delete_tags_of(session: Session, photos: Sequence[int]) -> int:
    """Delete all tags of photos; return how many of them were current."""
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
        query = query.where(LabelRow.key == label_key(label))
    if photo is not None:
        query = query.where(Photo.id == photo)
    if source is not None:
        query = query.where(TagRow.source == source)
    if run is not None:
        query = query.where(TagRow.run_id == run)
    if filters is not None:
        query = filtered(query, filters)
    with session.execute(query.execution_options(yield_per=TAGS_PER_FETCH)) as rows:
        for root, path, name, score, source_, run_id in rows:
            file = text_to_path(root) / text_to_path(path)
            yield Tag(file, name, score, cast(Source, source_), run_id)


def count_by_source(session: Session) -> dict[str, int]:
    """Count the current tags of each source."""
    rows = session.execute(
        select(TagRow.source, func.count())
        .where(TagRow.superseded_by.is_(None))
        .group_by(TagRow.source)
    )
    return {source: number for source, number in rows}
