"""Queries about runs: jobs with their settings and their outcome."""

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mkt_search.store.records import RunInfo
from mkt_search.store.sql.schema import RunRow
from mkt_search.store.sql.statements import now


def start(session: Session, kind: str, settings: dict[str, Any], process: str) -> int:
    """Add a run that is under way; return its id."""
    run = RunRow(kind=kind, settings=settings, outcome="running", process=process, started_at=now())
    session.add(run)
    session.flush()
    return run.id


def end(session: Session, run: int, outcome: str, summary: dict[str, Any]) -> None:
    """Record the outcome of a run; one that has an outcome keeps it."""
    session.execute(
        update(RunRow)
        .where(RunRow.id == run, RunRow.outcome == "running")
        .values(outcome=outcome, summary=summary, ended_at=now())
    )


def end_abandoned(session: Session) -> None:
    """Call runs that a kill left open interrupted. Only the writer may: none of them is alive."""
    session.execute(
        update(RunRow)
        .where(RunRow.outcome == "running")
        .values(outcome="interrupted", ended_at=now())
    )


def set_reverted(session: Session, run: int) -> None:
    """Record that a tag run was reverted."""
    session.execute(update(RunRow).where(RunRow.id == run).values(outcome="reverted"))


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
