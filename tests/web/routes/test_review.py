"""A review over HTTP."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mkt_search import Library
from tests.web.client import client_of

REVIEW = "/api/v1/review"


@pytest.fixture
def client(own_library: Path) -> Iterator[TestClient]:
    """A library whose six photos, five different ones, all have the tag red."""
    with Library.open(own_library) as library:
        library.tag(["red"], top=1, threshold=-1.0)
    with client_of(own_library) as client:
        yield client


def undecided(client: TestClient) -> list[int]:
    photos = client.get(f"{REVIEW}/photos", params={"label": "red"}).json()["photos"]
    return [photo["photo"] for photo in photos]


def decide(client: TestClient, decision: str, *photos: int) -> dict[str, int]:
    decisions = [{"photo": photo, "decision": decision} for photo in photos]
    answer = client.post(f"{REVIEW}/decisions", json={"label": "red", "decisions": decisions})
    assert answer.status_code == 200, answer.text
    found: dict[str, int] = answer.json()
    return found


def test_a_queue_comes_page_by_page_with_what_a_page_shows(client: TestClient) -> None:
    assert client.get(REVIEW).json() == [
        {"label": "red", "run": 2, "undecided": 5, "accepted": 0, "rejected": 0}
    ]
    pages, after = [], {}
    while True:
        page = client.get(f"{REVIEW}/photos", params={"label": "red", "limit": 2, **after}).json()
        pages += page["photos"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert [photo["photo"] for photo in pages] == undecided(client)
    assert pages[0]["score"] >= pages[-1]["score"] and pages[0]["width"] == 128
    assert pages[0]["thumbnail"] == f"/thumbnails/{pages[0]['content']}"


def test_decisions_are_taken_back_also_from_a_new_page(client: TestClient) -> None:
    assert client.get(f"{REVIEW}/last").json() is None
    first, second, *_ = before = undecided(client)
    decide(client, "accept", first)
    batch = decide(client, "reject", second)
    assert client.get(f"{REVIEW}/last").json() == {
        "id": batch["id"],
        "label": "red",
        "decisions": [{"photo": second, "decision": "reject"}],
    }
    for _ in range(2):
        last = client.get(f"{REVIEW}/last").json()
        assert client.post(f"{REVIEW}/undo", json={"id": last["id"]}).json() == {"changed": 1}
    assert undecided(client) == before
    assert client.post(f"{REVIEW}/undo", json={"id": 99}).status_code == 400


def test_two_tabs_that_decide_the_same_photos_lose_nothing(client: TestClient) -> None:
    photos = undecided(client)
    with ThreadPoolExecutor(8) as tabs:
        answers = list(
            tabs.map(lambda n: decide(client, ("accept", "reject")[n % 2], *photos), range(8))
        )
    assert len({answer["id"] for answer in answers}) == 8
    [queue] = client.get(REVIEW).json()
    assert queue["undecided"] == 0 and {queue["accepted"], queue["rejected"]} == {0, 5}


def test_a_decision_on_another_picture_does_not_count(client: TestClient) -> None:
    decision = {"photo": undecided(client)[0], "decision": "accept", "content": "0" * 64}
    body = {"label": "red", "decisions": [decision]}
    answer = client.post(f"{REVIEW}/decisions", json=body)
    assert answer.json() == {"id": None, "changed": 0}


@pytest.mark.parametrize("cursor", ["x", "1:", "nan:1", "inf:1", "0.5:-1", "0.5:1e9", ""])
def test_a_cursor_that_no_page_gave_is_refused(client: TestClient, cursor: str) -> None:
    answer = client.get(f"{REVIEW}/photos", params={"label": "red", "after": cursor})
    assert answer.status_code == 400 and "`next`" in answer.json()["detail"]


def test_a_read_only_server_decides_nothing(own_library: Path) -> None:
    with client_of(own_library, read_only=True) as client:
        body = {"label": "red", "decisions": [{"photo": 1, "decision": "accept"}]}
        assert client.post(f"{REVIEW}/decisions", json=body).status_code == 403
        assert client.post(f"{REVIEW}/undo", json={"id": 1}).status_code == 403
