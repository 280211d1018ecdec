"""The tags that a person sets: they belong to contents, so copies of a photo share them.

That a person refuses a label is the other word (see `refusals`); edits get both.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import delete, exists, func, insert, or_, select, union_all
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.store.sql.checksums import COLUMN
from mkt_search.store.sql.schema import (
    Content,
    HandTagRow,
    JudgementRow,
    LabelRow,
    MiniatureRow,
    Photo,
    RefusalRow,
    TagRow,
)
from mkt_search.store.sql.statements import in_pieces, insert_new, now
from mkt_search.store.sql.tags import known_label_ids, label_ids
from mkt_search.types import Source

ROWS_PER_FETCH = 1_000
Words = type[HandTagRow] | type[RefusalRow]

WITHOUT_MINIATURE = union_all(
    *(
        select(table.content_id).where(~exists().where(MiniatureRow.content_id == table.content_id))
        for table in (HandTagRow, RefusalRow, JudgementRow)
    )
)
"""The contents that a person spoke of and of which there is no miniature yet."""


def add(session: Session, photos: Sequence[int], label: str, source: Source = "human") -> int:
    """Tag the pictures of photos; return how many of the photos did not have the tag yet.

    Raises:
        QueryError: a photo could never be read, so that nobody knows which picture it is.
    """
    contents = _contents_of(session, photos)
    _refuse_unread(session, set(photos) - contents.keys())
    label_id = label_ids(session, [label])[label]
    have: set[int] = set()
    for piece in in_pieces(sorted(set(contents.values()))):
        query = select(HandTagRow.content_id).where(
            HandTagRow.content_id.in_(piece),
            HandTagRow.label_id == label_id,
            HandTagRow.source == source,
        )
        have.update(session.scalars(query))
    new = {content for content in contents.values() if content not in have}
    if new:
        same = {"label_id": label_id, "source": source, "created_at": now()}
        session.execute(insert(HandTagRow), [{"content_id": id_, **same} for id_ in sorted(new)])
    return sum(content in new for content in contents.values())


def remove(session: Session, photos: Sequence[int], label: str) -> int:
    """Remove a label from the pictures of photos, whoever set it; return how many had it.

    Every photo of the same bytes loses it. Replaced tags go too, so that reverting a run does not
    restore them.
    """
    label_id = known_label_ids(session, [label]).get(label)
    contents = _contents_of(session, photos)
    had: set[int | None] = set()
    for piece in in_pieces(sorted(set(contents.values()))):
        by_hand = (HandTagRow.content_id.in_(piece), HandTagRow.label_id == label_id)
        had.update(session.scalars(select(HandTagRow.content_id).where(*by_hand)))
        session.execute(delete(HandTagRow).where(*by_hand))
        by_runs = select(TagRow.id, TagRow.superseded_by, Photo.content_id).where(
            TagRow.photo_id == Photo.id, Photo.content_id.in_(piece), TagRow.label_id == label_id
        )
        tags = session.execute(by_runs).all()
        had.update(content for _, superseded_by, content in tags if superseded_by is None)
        for ids in in_pieces([id_ for id_, _, _ in tags]):
            session.execute(delete(TagRow).where(TagRow.id.in_(ids)))
    return sum(content in had for content in contents.values())


def words(session: Session) -> Iterator[tuple[int, str, bool]]:
    """Yield (content id, label, whether it was set or refused) of all that a person said."""
    for table, is_set in ((HandTagRow, True), (RefusalRow, False)):
        query = select(table.content_id, LabelRow.name).join(
            LabelRow, LabelRow.id == table.label_id
        )
        rows = session.execute(query.execution_options(yield_per=ROWS_PER_FETCH))
        yield from ((content, label, is_set) for content, label in rows)


def spoken_of(session: Session, contents: Collection[str]) -> set[str]:
    """Return those of the contents (SHA-256 in hex) of which a person said something."""
    found: set[str] = set()
    for piece in in_pieces([bytes.fromhex(content) for content in sorted(contents)]):
        has_words = or_(
            *(
                exists().where(table.content_id == Content.id)
                for table in (HandTagRow, RefusalRow, JudgementRow)
            )
        )
        query = select(Content.sha256).where(Content.sha256.in_(piece), has_words)
        found.update(sha.hex() for sha in session.scalars(query))
    return found


def carry(session: Session, old: int, new: int) -> None:
    """Give the tags and refusals of a content to the one that it was edited to.

    Both keep their own. If a label is set on one and refused on the other, the later word counts.
    """
    for table, against in ((HandTagRow, RefusalRow), (RefusalRow, HandTagRow)):
        later = exists().where(
            against.content_id == old,
            against.label_id == table.label_id,
            against.created_at > table.created_at,
        )
        session.execute(delete(table).where(table.content_id == new, later))
    tags, refusals = _words_of(session, HandTagRow, new), _words_of(session, RefusalRow, new)
    _add_words(session, HandTagRow, new, _words_of(session, HandTagRow, old), without=refusals)
    _add_words(session, RefusalRow, new, _words_of(session, RefusalRow, old), without=tags)


def _words_of(session: Session, table: Words, content: int) -> list[dict[str, Any]]:
    columns = [column for column in table.__table__.c if column.name != COLUMN]
    rows = session.execute(select(*columns).where(table.content_id == content))
    return [dict(row) for row in rows.mappings()]


def _add_words(
    session: Session,
    table: Words,
    content: int,
    words: list[dict[str, Any]],
    *,
    without: list[dict[str, Any]],
) -> None:
    labels = {word["label_id"] for word in without}
    rows = [word | {"content_id": content} for word in words if word["label_id"] not in labels]
    if rows:
        insert_new(session, table, rows)


def is_tagged(session: Session, content: int) -> bool:
    """Return True if a person tagged a content."""
    query = select(exists().where(HandTagRow.content_id == content))
    return bool(session.scalar(query))


def delete_of(session: Session, contents: Iterable[int]) -> int:
    """Delete the tags of contents; return how many. Only a person may ask for it."""
    count = 0
    for piece in in_pieces(list(contents)):
        these = HandTagRow.content_id.in_(piece)
        count += session.scalar(select(func.count()).select_from(HandTagRow).where(these)) or 0
        session.execute(delete(HandTagRow).where(these))
    return count


def _contents_of(session: Session, photos: Sequence[int]) -> dict[int, int]:
    """Return the content of each photo; one that could never be read is left out."""
    found: dict[int, int] = {}
    for piece in in_pieces(list(dict.fromkeys(photos))):
        rows = session.execute(select(Photo.id, Photo.content_id).where(Photo.id.in_(piece)))
        found.update((photo, content) for photo, content in rows if content is not None)
    return found


def _refuse_unread(session: Session, photos: set[int]) -> None:
    """Raise QueryError if there are photos that could never be read."""
    if photos:
        path = session.scalar(select(Photo.path).where(Photo.id == min(photos)))
        raise QueryError(
            f"{path} could never be read, and a tag belongs to a picture, not to a name: make it "
            "readable, run `mkt index --retry`, and tag it then."
        )
