"""Evaluations in the database: kept with their run, listed newest first, gone with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete

from mkt_search.store.records import Evaluation
from mkt_search.store.sql import evaluations, runs
from mkt_search.store.sql.database import open_engine, reading, transaction
from mkt_search.store.sql.schema import Base, RunRow

STARTED = datetime(2024, 5, 17, 8, 9, 10)
FOUND = Evaluation(
    model="student",
    fingerprint="abc",
    dataset="home/photos",
    dataset_fingerprint="def",
    protocol="nus-wide",
    settings={"only": "test"},
    results={"rows": [{"mAP": None}]},
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_models_of_one_evaluation_share_a_run_that_is_done(engine: Engine) -> None:
    both = [FOUND, replace(FOUND, model="teacher")]
    with transaction(engine) as session:
        run = evaluations.add(session, both, started_at=STARTED)
    with reading(engine) as session:
        kept = evaluations.listed(session)
        (info,) = runs.listed(session)
    assert [item.model for item in kept] == ["student", "teacher"]
    assert kept[0] == replace(FOUND, run=run, created_at=kept[0].created_at)
    assert (info.kind, info.outcome, info.started_at) == ("evaluate", "done", STARTED)
    assert info.settings == {"only": "test"} and info.summary["models"] == ["student", "teacher"]


def test_the_newest_comes_first(engine: Engine) -> None:
    for model in ("first", "second"):
        with transaction(engine) as session:
            evaluations.add(session, [replace(FOUND, model=model)], started_at=STARTED)
    with reading(engine) as session:
        assert [item.model for item in evaluations.listed(session)] == ["second", "first"]


def test_evaluations_go_with_their_run(engine: Engine) -> None:
    with transaction(engine) as session:
        run = evaluations.add(session, [FOUND], started_at=STARTED)
    with transaction(engine) as session:
        session.execute(delete(RunRow).where(RunRow.id == run))
    with reading(engine) as session:
        assert evaluations.listed(session) == []
