"""Jobs over HTTP, with their progress as server-sent events."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mkt_search import Library
from tests.tiny import paint
from tests.web.client import client_of

JOBS = "/api/v1/jobs"


def events(client: TestClient, job: int, **headers: str) -> list[tuple[str, Any]]:
    """Watch a job to its end; return (event, data)."""
    answer = client.get(f"{JOBS}/{job}/events", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in answer.text.strip().split("\n\n")]
    found = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [(event["event"], json.loads(event["data"])) for event in found if "event" in event]


def run(client: TestClient, **wanted: object) -> dict[str, Any]:
    started = client.post(JOBS, json=wanted)
    assert started.status_code == 202, started.text
    events(client, started.json()["id"])
    found: dict[str, Any] = client.get(f"{JOBS}/{started.json()['id']}").json()
    return found


def test_an_index_job_finds_new_photos_and_tells_how_it_ended(own_library: Path) -> None:
    paint(own_library / "photos" / "new.png", "cyan")
    with client_of(own_library) as client:
        started = client.post(JOBS, json={"kind": "index"}).json()
        seen = events(client, started["id"])
        assert seen[-1][0] == "done" and seen[-1][1]["report"]["indexed"] == 1
        assert {event for event, _ in seen} <= {"progress", "message", "done"}
        again = events(client, started["id"], **{"Last-Event-ID": "1000"})
        assert [event for event, _ in again] == ["done"]
        hits = client.get("/api/v1/search", params={"q": "cyan", "k": 1}).json()["hits"]
        assert hits[0]["name"] == "new.png"
        [listed] = client.get(JOBS).json()
        assert (listed["kind"], listed["state"]) == ("index", "done")


def test_a_tag_job_takes_labels_or_a_vocabulary_that_ships(own_library: Path) -> None:
    with client_of(own_library) as client:
        done = run(client, kind="tag", labels=["red", "blue"], top=1, threshold=0)
        assert done["state"] == "done" and done["report"]["added"] == 6
        assert {queue["label"] for queue in client.get("/api/v1/review").json()} == {"red", "blue"}
        failed = run(client, kind="tag", labels=["red"], precision=0.9)
        assert failed["state"] == "failed" and "mkt calibrate" in failed["message"]
        for wrong in ({"vocabulary": "/etc/passwd"}, {"vocabulary": "pets"}, {}):
            answer = client.post(JOBS, json={"kind": "tag", **wrong})
            assert answer.status_code == 400, wrong
        assert run(client, kind="optimize")["state"] == "done"
        assert run(client, kind="map")["state"] == "done"
        assert client.get("/api/v1/map").json()["photos"]


@pytest.mark.parametrize(
    "wrong", [{"kind": "prune"}, {}, {"kind": "tag", "labels": []}, {"kind": "index", "retry": 7}]
)
def test_what_is_no_job_is_refused(library: Path, wrong: dict[str, object]) -> None:
    with client_of(library) as client:
        assert client.post(JOBS, json=wrong).status_code == 422
        assert client.get(f"{JOBS}/7").status_code == 404
        assert client.get(f"{JOBS}/7/events").status_code == 404
        assert client.post(f"{JOBS}/7/cancel").status_code == 404


def test_while_another_process_writes_a_job_is_refused(own_library: Path) -> None:
    with Library.open(own_library) as other, other.store.writing("mkt index"):
        with client_of(own_library) as client:
            answer = client.post(JOBS, json={"kind": "optimize"})
            assert answer.status_code == 409 and "`mkt index` (pid" in answer.json()["detail"]


def test_a_read_only_server_runs_no_job(library: Path) -> None:
    with client_of(library, read_only=True) as client:
        assert client.post(JOBS, json={"kind": "optimize"}).status_code == 403
        assert client.get(JOBS).json() == []
