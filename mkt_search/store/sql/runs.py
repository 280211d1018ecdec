"""The queries about runs and about remembered label vectors."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mkt_search.store.records import RunInfo
from mkt_search.store.sql.database import insert_new
from mkt_search.store.sql.photos import in_pieces, now
from mkt_search.store.sql.schema import LabelVectorRow, RunRow


def start_run(session: Session, kind: str, settings: dict[str, Any], process: str) -> int:
    """Add a run that is under way; return its id."""
    run = RunRow(kind=kind, settings=settings, outcome="running", process=process, started_at=now())
    session.add(run)
    session.flush()
    return run.id


def end_run(session: Session, run: int, outcome: str, summary: dict[str, Any]) -> None:
    """Record how a run ended; what was recorded first stays."""
    session.execute(
        update(RunRow)
        .where(RunRow.id == run, RunRow.outcome == "running")
        .values(outcome=outcome, summary=summary, ended_at=now())
    )


def set_reverted(session: Session, run: int) -> None:
    """Record that a tag run was reverted."""
    session.execute(update(RunRow).where(RunRow.id == run).values(outcome="reverted"))


def end_abandoned(session: Session) -> None:
    """Mark runs that a kill left open; the writer's lock proves that nobody works on them."""
    session.execute(
        update(RunRow)
        .where(RunRow.outcome == "running")
        .values(outcome="interrupted", ended_at=now())
    )


def listed(session: Session) -> list[RunInfo]:
    """Return every run, oldest first."""
    return [
        RunInfo(
            row.id,
            row.kind,
            row.settings,
            row.summary or {},
            row.outcome,
            row.started_at,
            row.ended_at,
        )
        for row in session.scalars(select(RunRow).order_by(RunRow.id))
    ]


def remembered_vectors(session: Session) -> list[bytes]:
    """Return every remembered vector of a label, by label, whatever encoder made it."""
    return list(session.scalars(select(LabelVectorRow.vector).order_by(LabelVectorRow.label)))


def forget_labels(session: Session) -> None:
    """Forget the vectors of labels; they are made again when they are asked for."""
    session.execute(delete(LabelVectorRow))


def label_vectors(session: Session, encoder: str, labels: Sequence[str]) -> dict[str, bytes]:
    """Return the remembered vectors of labels under a label encoder."""
    found: dict[str, bytes] = {}
    for piece in in_pieces(labels):
        rows = session.execute(
            select(LabelVectorRow.label, LabelVectorRow.vector).where(
                LabelVectorRow.encoder == encoder, LabelVectorRow.label.in_(piece)
            )
        )
        found.update((label, vector) for label, vector in rows)
    return found


def remember_labels(session: Session, encoder: str, vectors: dict[str, bytes]) -> None:
    """Remember vectors of labels; a label that another process remembered meanwhile is left."""
    rows = [
        {"encoder": encoder, "label": label, "vector": vectors[label]} for label in sorted(vectors)
    ]  # in one order, so that two processes do not wait for each other
    if rows:
        insert_new(session, LabelVectorRow, rows)
