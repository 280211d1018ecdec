"""Queries about label vectors: remembered, so that no text tower is loaded for them again."""

from collections.abc import Iterator, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from mkt_search.store.sql.checksums import is_sound
from mkt_search.store.sql.schema import LabelVectorRow
from mkt_search.store.sql.statements import in_pieces, insert_new

SOUND = is_sound(LabelVectorRow.__table__)
LABELS_PER_FETCH = 1_000


def find(session: Session, encoder: str, labels: Sequence[str]) -> dict[str, bytes]:
    """Return the remembered vectors of labels under a label encoder; damaged ones are left out."""
    found: dict[str, bytes] = {}
    for piece in in_pieces(labels):
        rows = session.execute(
            select(LabelVectorRow.label, LabelVectorRow.vector).where(
                LabelVectorRow.encoder == encoder, LabelVectorRow.label.in_(piece), SOUND
            )
        )
        found.update((label, vector) for label, vector in rows)
    return found


def of_encoder(session: Session, encoder: str) -> Iterator[tuple[str, bytes]]:
    """Yield the labels that are remembered under a label encoder, and their vectors."""
    query = (
        select(LabelVectorRow.label, LabelVectorRow.vector)
        .where(LabelVectorRow.encoder == encoder, SOUND)
        .order_by(LabelVectorRow.label)
        .execution_options(yield_per=LABELS_PER_FETCH)
    )
    with session.execute(query) as rows:
        yield from ((label, vector) for label, vector in rows)


def like(session: Session, prefix: str, *, count: int) -> list[str]:
    """Return the remembered labels that begin so, in any case of ASCII letters, by name."""
    text = LabelVectorRow.label
    query = (
        select(text)
        .where(func.lower(text).startswith(prefix.lower(), autoescape=True), SOUND)
        .distinct()
        .order_by(text)
        .limit(count)
    )
    return list(session.scalars(query))


def every(session: Session) -> list[bytes]:
    """Return all remembered vectors, by label, whatever encoder made them."""
    query = select(LabelVectorRow.vector).where(SOUND).order_by(LabelVectorRow.label)
    return list(session.scalars(query))


def remember(session: Session, encoder: str, vectors: dict[str, bytes]) -> None:
    """Remember vectors; a label that another process remembered meanwhile keeps its vector."""
    rows = [
        {"encoder": encoder, "label": label, "vector": vectors[label]} for label in sorted(vectors)
    ]  # sorted, so that two processes do not wait for each other in a circle
    if rows:
        insert_new(session, LabelVectorRow, rows)


def delete_all(session: Session) -> None:
    """Delete all remembered vectors."""
    session.execute(delete(LabelVectorRow))
