"""Tags over HTTP: set, removed and allowed again by hand; counted; completed."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mkt_search import Library
from tests.command_line import mkt
from tests.web.client import client_of

LABELS = ["dog", "a/b", "..", "été", "  two   words ", "%2F", "?#&=+", "🐕", "x" * 1_000]


def tags_of(client: TestClient, photo: int) -> set[str]:
    return {tag["label"] for tag in client.get(f"/api/v1/photos/{photo}").json()["tags"]}


@pytest.mark.parametrize("label", LABELS)
def test_a_tag_is_set_removed_and_allowed_by_hand(writer: TestClient, label: str) -> None:
    clean, at = " ".join(label.split()), "/api/v1/photos/1"
    assert writer.post(f"{at}/tags", json={"label": label}).json() == {"changed": 1}
    assert writer.post(f"{at}/tags", json={"label": label}).json() == {"changed": 0}
    assert tags_of(writer, 1) == {clean}
    assert writer.post(f"{at}/refusals", json={"label": label}).json() == {"changed": 1}
    assert tags_of(writer, 1) == set()
    assert writer.get(at).json()["refused"] == [clean]
    answer = writer.delete(f"{at}/refusals", params={"label": label})
    assert answer.json() == {"changed": 1}
    assert writer.get(at).json()["refused"] == []


def test_several_photos_are_tagged_at_once(writer: TestClient) -> None:
    assert writer.post("/api/v1/tags", json={"label": "x", "photos": [1, 2]}).json() == {
        "changed": 2
    }
    assert tags_of(writer, 1) == tags_of(writer, 2) == {"x"}


@pytest.mark.parametrize(
    ("photo", "body", "status"),
    [
        (9_999, {"label": "dog"}, 404),
        (1, {"label": ""}, 422),
        (1, {"label": "\u200b"}, 400),
        (1, {"label": "a\0b"}, 422),
        (1, {"label": "\ud800"}, 422),
        (1, {"label": None}, 422),
        (1, {}, 422),
        (1, [], 422),
        (2**40, {"label": "dog"}, 422),
    ],
)
def test_a_tag_that_cannot_be_set_is_a_problem(
    writer: TestClient, photo: int, body: Any, status: int
) -> None:
    kind = {"Content-Type": "application/json"}
    answer = writer.post(f"/api/v1/photos/{photo}/tags", content=json.dumps(body), headers=kind)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_body_that_a_form_could_send_is_refused(writer: TestClient) -> None:
    """Browsers send text/plain to other sites without asking them first."""
    body = json.dumps({"label": "dog"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = writer.post("/api/v1/photos/1/tags", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422
    assert tags_of(writer, 1) == set()


def test_a_photo_that_has_changed_since_is_not_tagged(
    writer: TestClient, own_library: Path
) -> None:
    photo = writer.get("/api/v1/search?q=green&k=1").json()["hits"][0]
    Path(photo["path"]).write_bytes(b"another picture")
    answer = writer.post(f"/api/v1/photos/{photo['photo']}/tags", json={"label": "dog"})
    assert answer.status_code == 400
    assert "has changed since it was indexed" in answer.json()["detail"]


def test_tags_are_counted_by_source(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        opened.tag(["red"], top=1)
        opened.add_tag(own_library / "photos" / "blue.png", "red")
        opened.remove_tag(own_library / "photos" / "green.png", "sea")
    with client_of(own_library) as client:
        red, sea = client.get("/api/v1/tags").json()
        listed = mkt("tags", "--label", "red", "--library", own_library).stdout.splitlines()
    assert (red["label"], red["photos"], red["human"]) == ("red", len(listed), 1)
    assert red["auto"] == red["photos"] - 1
    assert sea == {
        "label": "sea", "photos": 0, "auto": 0, "human": 0, "imported": 0, "refused": 1
    }  # fmt: skip


def test_a_library_that_another_process_writes_to_is_a_conflict(
    writer: TestClient, own_library: Path
) -> None:
    with Library.open(own_library) as other, other.store.writing("mkt index"):
        answer = writer.post("/api/v1/photos/1/tags", json={"label": "dog"})
    assert answer.status_code == 409
    assert "is being written by `mkt index`" in answer.json()["detail"]
    assert writer.post("/api/v1/photos/1/tags", json={"label": "dog"}).status_code == 200


def test_labels_are_completed_from_tags_then_searches_then_vocabularies(
    writer: TestClient,
) -> None:
    writer.post("/api/v1/photos/1/tags", json={"label": "Green door"})
    writer.get("/api/v1/search?q=green")
    hints = writer.get("/api/v1/labels?prefix=gre").json()
    assert hints[:2] == [
        {"label": "Green door", "kind": "tag"},
        {"label": "green", "kind": "query"},
    ]
    assert len(writer.get("/api/v1/labels?limit=5").json()) == 5
    assert {"label": "dog", "kind": "vocabulary"} in writer.get("/api/v1/labels?prefix=do").json()
    assert writer.get("/api/v1/labels", params={"prefix": "%"}).json() == []


def test_a_photo_that_is_named_twice_is_tagged_once(writer: TestClient) -> None:
    answer = writer.post("/api/v1/tags", json={"label": "x", "photos": [1, 1, 1]})
    assert answer.json() == {"changed": 1}
    answer = writer.post("/api/v1/tags", json={"label": "x", "photos": [2, 9_999]})
    assert answer.status_code == 404
    assert tags_of(writer, 2) == set()
