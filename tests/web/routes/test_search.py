"""Searches over HTTP: the hits of `mkt search --json`, with what a page needs to show them."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from tests.calibration.made import calibrator_of
from tests.command_line import mkt
from tests.web.client import client_of

ON_PAGE = ("name", "width", "height", "thumbnail", "colour")


def search(client: TestClient, **parameters: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/search", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_hits_are_those_of_the_command(client: TestClient, library: Path) -> None:
    found = search(client, q="red - blue", k=3)["hits"]
    shown = [{name: hit.pop(name) for name in ON_PAGE} for hit in found]
    done = mkt("search", "red - blue", "-k", "3", "--json", "--library", library)
    assert found == json.loads(done.stdout)
    assert shown[0]["name"] == "red.png"
    assert (shown[0]["width"], shown[0]["height"]) == (128, 128)
    assert shown[0]["thumbnail"].startswith("/thumbnails/")


def test_the_query_is_described_and_timed(client: TestClient) -> None:
    found = search(client, q="2*red  +  green", k=1)
    assert found["query"] == "2*red + green"
    assert found["milliseconds"]["open"] >= 0
    assert (found["match"], found["expected"], found["no_p"]) == (None, None, None)


def test_photos_may_be_what_is_looked_for(client: TestClient) -> None:
    red = search(client, q="red", k=1)["hits"][0]["photo"]
    alike = search(client, like=[red], k=1)["hits"][0]
    assert alike["photo"] == red
    mixed = search(
        client, q="- red", like=[red, search(client, q="green", k=1)["hits"][0]["photo"]]
    )
    assert mixed["hits"][0]["name"] == "green.png"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"path": "trip"}, {"mixed.png", "copy.png"}),
        ({"after": "2024"}, {"yellow.jpg"}),
        ({"camera": "pinhole"}, {"yellow.jpg"}),
        ({"before": "2020-02-02"}, set()),
        ({"tag": "nothing"}, set()),
    ],
)
def test_filters_leave_photos_out(
    client: TestClient, filters: dict[str, str], names: set[str]
) -> None:
    assert {hit["name"] for hit in search(client, q="red", **filters)["hits"]} == names


@pytest.mark.parametrize(
    ("parameters", "status", "sentence"),
    [
        ({}, 400, "Say what to look for"),
        ({"q": "  "}, 400, "Say what to look for"),
        ({"q": "red +"}, 400, "has an empty term"),
        ({"q": "- red"}, 400, "The query asks for nothing"),
        ({"q": "zebra"}, 400, 'unknown label "zebra"'),
        ({"q": "red", "after": "May"}, 400, "is not a date"),
        ({"q": "red", "after": "2024", "before": "2023"}, 400, "No photo was taken"),
        ({"q": "x" * 1_001}, 422, "q: String should have at most 1000 characters"),
        ({"q": "re\0d"}, 422, "q: String should match pattern"),
    ],
)
def test_what_cannot_be_searched_for_is_said(
    client: TestClient, parameters: dict[str, str], status: int, sentence: str
) -> None:
    answer = client.get("/api/v1/search", params=parameters)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]


def test_probabilities_come_with_what_is_expected(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened), own_library / ".mkt" / FILE)
    with client_of(own_library) as found:
        hits = search(found, q="red", min_p=0.5)
        assert hits["match"] == "yes"
        assert all(hit["p"] >= 0.5 for hit in hits["hits"])
        assert hits["expected"]["photos"] == len(hits["hits"])
        few = search(found, q="red", precision=0.99)
        assert 0 < len(few["hits"]) <= len(hits["hits"])


def test_without_a_calibrator_p_cannot_be_asked_for(client: TestClient) -> None:
    answer = client.get("/api/v1/search", params={"q": "red", "min_p": 0.5})
    assert answer.status_code == 409
    assert "mkt calibrate" in answer.json()["detail"]
