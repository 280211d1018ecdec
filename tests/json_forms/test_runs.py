"""Runs as JSON."""

from datetime import datetime

from mkt_search.json_forms.runs import as_data
from mkt_search.store.records import RunInfo


def test_times_of_a_run_are_utc_and_an_unfinished_run_has_no_end() -> None:
    run = RunInfo(1, "tag", {"top": 1}, {}, "running", datetime(2024, 5, 17, 8), None)
    data = as_data(run)
    assert (data["started_at"], data["ended_at"]) == ("2024-05-17T08:00:00Z", None)
