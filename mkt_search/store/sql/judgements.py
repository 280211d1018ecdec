"""Judgements: a person said whether a picture shows what a search for a label asks for.

One belongs to a content, so it holds for every copy of a photo. Of two on one content and label,
the later counts.
"""

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.orm import Session, aliased

from mkt_search.paths import text_to_path
from mkt_search.spelling import label_key
from mkt_search.store.sql.contents import of_photos
from mkt_search.store.sql.filters import SHOWS_WORDS
from mkt_search.store.sql.schema import JudgementRow, LabelRow, Photo, Root
from mkt_search.store.sql.statements import in_pieces, now
from mkt_search.store.sql.tags import delete_unused_labels, known_label_ids, label_ids
from mkt_search.types import Judgement

ROWS_PER_FETCH = 1_000
ANSWERS = {True: "yes", False: "no"}


def add(
    session: Session, label: str, photos: Mapping[int, bool], *, person: str, model: str
) -> None:
    """Remember judgements of the pictures of photos, in place of earlier ones.

    Args:
        session: an open transaction.
        label: what the photos were judged for.
        photos: whether a photo shows it, by photo id.
        person: who judged.
        model: the fingerprint of the checkpoint by whose scores the photos were shown.
    """
    label_id = label_ids(session, [label])[label]
    same = {"label_id": label_id, "person": person, "model": model, "created_at": now()}
    for is_yes, answer in ANSWERS.items():
        judged = [photo for photo, said in photos.items() if said is is_yes]
        contents = sorted(of_photos(session, judged))
        _delete(session, contents, label_id)
        if contents:
            rows = [{"content_id": id_, "answer": answer, **same} for id_ in contents]
            session.execute(insert(JudgementRow), rows)


def remove(session: Session, label: str, photos: Sequence[int] | None) -> int:
    """Delete the judgements of the pictures of photos, None for all; return how many."""
    label_id = known_label_ids(session, [label]).get(label)
    if label_id is None:
        return 0
    query = select(JudgementRow.content_id).where(JudgementRow.label_id == label_id)
    judged = set(session.scalars(query))
    contents = sorted(judged if photos is None else judged & of_photos(session, photos))
    _delete(session, contents, label_id)
    delete_unused_labels(session)
    return len(contents)


def of_labels(session: Session, labels: Sequence[str]) -> dict[str, dict[int, bool]]:
    """Return the answers for each label that has some, by content id; the newest last."""
    ids = known_label_ids(session, labels)
    names = {id_: label for label, id_ in ids.items()}
    found: dict[str, dict[int, bool]] = {}
    for piece in in_pieces(sorted(names)):
        rows = session.execute(
            select(JudgementRow.label_id, JudgementRow.content_id, JudgementRow.answer)
            .where(JudgementRow.label_id.in_(piece))
            .order_by(JudgementRow.created_at, JudgementRow.content_id)
        )
        for label_id, content, answer in rows:
            found.setdefault(names[label_id], {})[content] = answer == ANSWERS[True]
    return found


def listed(session: Session, *, label: str | None) -> Iterator[Judgement]:
    """Yield judgements by label and photo; a missing photo only if its picture is nowhere else."""
    query = (
        select(Root.path.label("root"), Photo.path, Photo.state, LabelRow.name, JudgementRow)
        .select_from(JudgementRow)
        .join(Photo, Photo.content_id == JudgementRow.content_id)
        .join(Root, Root.id == Photo.root_id)
        .join(LabelRow, LabelRow.id == JudgementRow.label_id)
        .where(SHOWS_WORDS)
        .order_by(LabelRow.name, Root.path, Photo.path, Photo.replaced)
    )
    if label is not None:
        query = query.where(LabelRow.key == label_key(label))
    for root, path, state, name, row in session.execute(
        query.execution_options(yield_per=ROWS_PER_FETCH)
    ):
        yield Judgement(
            path=text_to_path(root) / text_to_path(path),
            label=name,
            is_yes=row.answer == ANSWERS[True],
            judged_at=row.created_at,
            person=row.person,
            model=row.model,
            is_missing=state == "missing",
        )


def carry(session: Session, old: int, new: int) -> None:
    """Give the judgements of a content to the one that it was edited to; the later ones count."""
    of_old = aliased(JudgementRow)
    later = exists().where(
        of_old.content_id == old,
        of_old.label_id == JudgementRow.label_id,
        of_old.created_at > JudgementRow.created_at,
    )
    session.execute(delete(JudgementRow).where(JudgementRow.content_id == new, later))
    own = select(JudgementRow.label_id).where(JudgementRow.content_id == new)
    rows = session.scalars(
        select(JudgementRow).where(
            JudgementRow.content_id == old, JudgementRow.label_id.not_in(own)
        )
    ).all()
    names = ("label_id", "answer", "person", "model", "created_at")
    added = [{"content_id": new, **{name: getattr(row, name) for name in names}} for row in rows]
    if added:
        session.execute(insert(JudgementRow), added)


def _delete(session: Session, contents: Sequence[int], label_id: int) -> None:
    for piece in in_pieces(contents):
        these = (JudgementRow.content_id.in_(piece), JudgementRow.label_id == label_id)
        session.execute(delete(JudgementRow).where(*these))
