"""Runs and their outcomes."""

import pytest
from sqlalchemy.orm import Session

from mkt_search.store.sql import runs


def outcomes(session: Session) -> list[str]:
    return [run.outcome for run in runs.listed(session)]


def test_a_run_is_recorded_from_its_start_to_its_end(session: Session) -> None:
    first = runs.start(session, "index", {"m": 16}, "pid 1")
    second = runs.start(session, "tag", {}, "pid 2")
    runs.end(session, first, "done", {"indexed": 3})
    started, running = runs.listed(session)
    assert (started.id, started.kind, started.settings) == (first, "index", {"m": 16})
    assert (started.outcome, started.summary) == ("done", {"indexed": 3})
    assert started.ended_at is not None and started.ended_at >= started.started_at
    assert (running.id, running.outcome, running.summary) == (second, "running", {})
    assert running.ended_at is None


def test_an_outcome_is_never_replaced(session: Session) -> None:
    run = runs.start(session, "index", {}, "pid 1")
    runs.end(session, run, "done", {"indexed": 3})
    runs.end(session, run, "failed", {})
    assert outcomes(session) == ["done"]
    assert runs.listed(session)[0].summary == {"indexed": 3}


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_only_open_runs_are_abandoned(session: Session, outcome: str) -> None:
    runs.end(session, runs.start(session, "index", {}, "pid 1"), outcome, {})
    runs.start(session, "index", {}, "pid 2")
    runs.end_abandoned(session)
    assert outcomes(session) == [outcome, "interrupted"]


def test_a_tag_run_is_reverted_after_its_end(session: Session) -> None:
    run = runs.start(session, "tag", {}, "pid 1")
    runs.end(session, run, "done", {"added": 2})
    runs.set_reverted(session, run)
    assert outcomes(session) == ["reverted"]
