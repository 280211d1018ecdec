"""Runs over HTTP: listed as `mkt tags --runs --json` does, and taken back."""

import json
from pathlib import Path

from mkt_search import Library
from tests.command_line import mkt
from tests.web.client import client_of


def test_runs_are_those_of_the_command_and_can_be_taken_back(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        run = opened.tag(["red"], top=1).run
    with client_of(own_library) as client:
        listed = client.get("/api/v1/runs").json()
        assert listed == json.loads(
            mkt("tags", "--runs", "--json", "--library", own_library).stdout
        )
        report = client.post(f"/api/v1/runs/{run}/revert").json()
        assert report["removed"] == 6
        assert client.get("/api/v1/tags").json() == []
        assert client.get("/api/v1/runs").json()[-1]["outcome"] == "reverted"
        again = client.post(f"/api/v1/runs/{run}/revert")
        assert again.status_code == 400
        assert "was taken back already" in again.json()["detail"]
        assert client.post("/api/v1/runs/999/revert").status_code == 400
