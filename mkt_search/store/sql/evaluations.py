"""Queries about evaluations: what models reached on labeled photos, kept with their run."""

import os
import socket
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.records import Evaluation
from mkt_search.store.sql.schema import EvaluationRow, RunRow
from mkt_search.store.sql.statements import now

KIND = "evaluate"


def add(session: Session, found: Sequence[Evaluation], *, started_at: datetime) -> int:
    """Record a finished evaluation as a run with a row for each model; return the run's id.

    This only adds rows, so it needs no write lock.
    """
    run = RunRow(
        kind=KIND,
        settings=found[0].settings if found else {},
        summary={"models": [item.model for item in found]},
        outcome="done",
        process=f"pid {os.getpid()} on {socket.gethostname()}",
        started_at=started_at,
        ended_at=now(),
    )
    session.add(run)
    session.flush()
    session.add_all(
        EvaluationRow(
            run_id=run.id,
            created_at=run.ended_at,
            model=item.model,
            fingerprint=item.fingerprint,
            dataset=item.dataset,
            dataset_fingerprint=item.dataset_fingerprint,
            protocol=item.protocol,
            settings=item.settings,
            results=item.results,
        )
        for item in found
    )
    return run.id


def listed(session: Session) -> list[Evaluation]:
    """Return every evaluation: the newest run first, its models in the order given."""
    query = select(EvaluationRow).order_by(EvaluationRow.run_id.desc(), EvaluationRow.id)
    return [
        Evaluation(
            row.model,
            row.fingerprint,
            row.dataset,
            row.dataset_fingerprint,
            row.protocol,
            row.settings,
            row.results,
            row.created_at,
            row.run_id,
        )
        for row in session.scalars(query)
    ]
