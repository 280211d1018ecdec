"""Evaluations: kept with their run, listed newest first."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete

from mkt_search.store.records import Evaluation
from mkt_search.store.sql.database import transaction
from mkt_search.store.sql.schema import RunRow
from mkt_search.store.store import Store

STARTED = datetime(2024, 5, 17, 8, 9, 10)
FOUND = Evaluation(
    model="student",
    fingerprint="abc",
    dataset="home/photos",
    dataset_fingerprint="def",
    protocol="nus-wide",
    settings={"only": "test"},
    results={"rows": [{"mAP": None, "label": "ä \\ \x00"}]},
)


def test_models_of_one_evaluation_share_a_run(store: Store) -> None:
    both = [FOUND, replace(FOUND, model="teacher")]
    run = store.catalog.add_evaluations(both, started_at=STARTED)
    kept = store.catalog.evaluations()
    [info] = store.catalog.runs()
    assert [item.model for item in kept] == ["student", "teacher"]
    assert kept[0] == replace(FOUND, run=run, created_at=kept[0].created_at)
    assert (info.kind, info.outcome, info.started_at) == ("evaluate", "done", STARTED)
    assert info.settings == {"only": "test"} and info.summary["models"] == ["student", "teacher"]


def test_the_newest_run_comes_first(store: Store) -> None:
    for model in ("first", "second"):
        store.catalog.add_evaluations([replace(FOUND, model=model)], started_at=STARTED)
    assert [item.model for item in store.catalog.evaluations()] == ["second", "first"]


def test_evaluations_go_with_their_run(store: Store) -> None:
    run = store.catalog.add_evaluations([FOUND], started_at=STARTED)
    with transaction(store.catalog.engine) as session:
        session.execute(delete(RunRow).where(RunRow.id == run))
    assert store.catalog.evaluations() == []
