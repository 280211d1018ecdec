"""Labels that a person removed from a picture: no run gives them to it again.

A refusal belongs to a content, so it holds for every copy of a photo.
"""

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mkt_search.paths import text_to_path
from mkt_search.spelling import label_key
from mkt_search.store.sql.contents import of_photos
from mkt_search.store.sql.filters import SHOWS_WORDS, filtered
from mkt_search.store.sql.schema import LabelRow, Photo, RefusalRow, Root
from mkt_search.store.sql.statements import in_pieces, insert_new, now
from mkt_search.store.sql.tags import delete_unused_labels, known_label_ids, label_ids
from mkt_search.types import Filters, Refusal

ROWS_PER_FETCH = 1_000


def add(session: Session, photos: Sequence[int], label: str) -> None:
    """Remember that a person does not want a label on the pictures of photos."""
    contents = sorted(of_photos(session, photos))
    if contents:
        same = {"label_id": label_ids(session, [label])[label], "created_at": now()}
        insert_new(session, RefusalRow, [{"content_id": id_, **same} for id_ in contents])


def allow(session: Session, photos: Sequence[int], label: str) -> int:
    """Allow a label on the pictures of photos again; return how many photos had it refused."""
    label_id = known_label_ids(session, [label]).get(label)
    if label_id is None:
        return 0
    refused: set[int] = set()
    for piece in in_pieces(photos):
        query = (
            select(Photo.id)
            .join(RefusalRow, RefusalRow.content_id == Photo.content_id)
            .where(Photo.id.in_(piece), RefusalRow.label_id == label_id)
        )
        refused.update(session.scalars(query))
    for contents in in_pieces(sorted(of_photos(session, sorted(refused)))):
        these = (RefusalRow.content_id.in_(contents), RefusalRow.label_id == label_id)
        session.execute(delete(RefusalRow).where(*these))
    delete_unused_labels(session)
    return len(refused)


def of_labels(session: Session, labels: Iterable[int]) -> set[tuple[int, int]]:
    """Return the (content id, label id) of all refusals of labels."""
    found: set[tuple[int, int]] = set()
    for piece in in_pieces(list(labels)):
        query = select(RefusalRow.content_id, RefusalRow.label_id)
        rows = session.execute(query.where(RefusalRow.label_id.in_(piece)))
        found.update((content, label) for content, label in rows)
    return found


def listed(
    session: Session, *, label: str | None, photo: int | None, filters: Filters
) -> Iterator[Refusal]:
    """Yield refusals by photo and label; a missing photo only if its picture is nowhere else."""
    query = (
        select(Root.path, Photo.path, LabelRow.name, RefusalRow.created_at, Photo.state)
        .select_from(RefusalRow)
        .join(Photo, Photo.content_id == RefusalRow.content_id)
        .join(Root, Root.id == Photo.root_id)
        .join(LabelRow, LabelRow.id == RefusalRow.label_id)
        .where(SHOWS_WORDS)
        .order_by(Root.path, Photo.path, Photo.replaced, LabelRow.name)
    )
    if label is not None:
        query = query.where(LabelRow.key == label_key(label))
    if photo is not None:
        query = query.where(Photo.id == photo)
    rows = session.execute(filtered(query, filters).execution_options(yield_per=ROWS_PER_FETCH))
    for root, path, name, created, state in rows:
        file = text_to_path(root) / text_to_path(path)
        yield Refusal(file, name, created, is_missing=state == "missing")
