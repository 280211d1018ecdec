"""The map over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from mkt_search.projection.file import FILE
from tests.command_line import mkt
from tests.web.client import client_of

MAP = "/api/v1/map"


@pytest.fixture
def client(own_library: Path) -> Iterator[TestClient]:
    """A client of a library with a map."""
    mkt("map", "--library", own_library)
    with client_of(own_library) as found:
        yield found


def test_a_library_without_a_map_says_how_to_make_one(own_library: Path) -> None:
    with client_of(own_library) as client:
        assert client.get(MAP).json() is None
        for path in (f"{MAP}/points", f"{MAP}/ids", f"{MAP}/colours?by=month"):
            answer = client.get(path)
            assert answer.status_code == 404 and "mkt map" in answer.json()["detail"]


def test_points_ids_and_colours_are_bytes_in_the_same_order(client: TestClient) -> None:
    found = client.get(MAP).json()
    count, version = found["photos"], {"version": found["version"]}
    assert count > 0 and (found["missing"], found["stale"]) == (0, None)
    points = client.get(f"{MAP}/points", params=version)
    ids = client.get(f"{MAP}/ids", params=version)
    colours = client.get(f"{MAP}/colours", params={**version, "by": "month"})
    for answer in (points, ids, colours):
        assert answer.headers["content-type"] == "application/octet-stream"
    xy = np.frombuffer(points.content, "<f4").reshape(-1, 2)
    numbers = np.frombuffer(ids.content, "<u4")
    assert len(xy) == len(numbers) == len(colours.content) == count
    assert np.abs(xy).max() <= 1 and (np.diff(numbers.astype(np.int64)) > 0).all()
    assert {client.get(f"/api/v1/photos/{number}").status_code for number in numbers} == {200}
    assert (colours.headers["x-lowest"], colours.headers["x-highest"]) == ("2020-02", "2024-05")
    assert max(colours.content) == 255 and min(colours.content) == 1


def test_clusters_have_names_and_counts(client: TestClient) -> None:
    found = client.get(MAP).json()
    for level in (0, 1):
        own = [cluster for cluster in found["clusters"] if cluster["level"] == level]
        assert sum(cluster["photos"] for cluster in own) == found["photos"]
        assert all(-1 <= cluster["x"] <= 1 and -1 <= cluster["y"] <= 1 for cluster in own)


def test_a_tag_and_a_score_colour_the_photos_that_have_them(client: TestClient) -> None:
    numbers = np.frombuffer(client.get(f"{MAP}/ids").content, "<u4").tolist()
    client.post(f"/api/v1/photos/{numbers[1]}/tags", json={"label": "holiday"})
    tagged = client.get(f"{MAP}/colours", params={"by": "tag:holiday"}).content
    assert [number for number, value in zip(numbers, tagged, strict=True) if value] == [numbers[1]]
    scored = client.get(f"{MAP}/colours", params={"by": "score:red"}).content
    best = client.get("/api/v1/search", params={"q": "red", "k": 1}).json()["hits"][0]["photo"]
    assert scored[numbers.index(best)] == 255


def test_what_does_not_colour_is_refused(client: TestClient) -> None:
    for by in ("year", "tag:", "score:hovercraft"):
        assert client.get(f"{MAP}/colours", params={"by": by}).status_code == 400


def test_a_version_that_is_gone_is_refused(client: TestClient) -> None:
    answer = client.get(f"{MAP}/points", params={"version": "1-never"})
    assert answer.status_code == 409 and "ask for it again" in answer.json()["detail"]


def test_a_map_that_was_shown_stays_while_photos_change(
    client: TestClient, own_library: Path
) -> None:
    before = client.get(MAP).json()
    (own_library / "photos" / "blue.png").unlink()
    mkt("index", own_library / "photos", "--library", own_library)
    after = client.get(MAP).json()
    assert after["photos"] == before["photos"] - 1
    for found in (before, after):
        points = client.get(f"{MAP}/points", params={"version": found["version"]}).content
        assert len(points) == 8 * found["photos"]


def test_a_damaged_map_is_a_sentence(client: TestClient, own_library: Path) -> None:
    (own_library / ".mkt" / FILE).write_bytes(b"PK\x03\x04 damaged")
    answer = client.get(MAP)
    assert answer.status_code == 500 and "Make it again with `mkt map`" in answer.json()["detail"]
