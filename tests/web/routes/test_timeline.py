"""The timeline of a library over HTTP."""

from pathlib import Path

import pytest

from tests.command_line import mkt
from tests.web.client import client_of

TIMELINE = "/api/v1/timeline"


def test_photos_come_by_month_page_by_page(library: Path) -> None:
    with client_of(library) as client:
        found = client.get(TIMELINE).json()
        assert found["months"] == [
            {"month": "2024-05", "first": 0, "count": 1},
            {"month": "2020-02", "first": 1, "count": 5},
        ]
        assert found["total"] == 6
        page = {"revision": found["revision"], "count": 4}
        pages = [
            client.get(f"{TIMELINE}/photos", params={**page, "first": first}).json()["photos"]
            for first in (0, 4, 6)
        ]
        assert [len(photos) for photos in pages] == [4, 2, 0]
        first = pages[0][0]
        assert first["name"] == "yellow.jpg" and first["taken_at"] == "2024-05-17T08:09:10"
        assert first["state"] == "indexed" and (first["width"], first["height"]) == (64, 64)
        record = client.get(f"/api/v1/photos/{first['photo']}").json()
        assert record["thumbnail"] == first["thumbnail"]


def test_a_timeline_can_be_filtered(library: Path) -> None:
    with client_of(library) as client:
        path = {"path": "*/trip/*"}
        found = client.get(TIMELINE, params=path).json()
        assert found["total"] == 2
        page = client.get(
            f"{TIMELINE}/photos", params={**path, "revision": found["revision"]}
        ).json()
        assert {photo["name"] for photo in page["photos"]} == {"copy.png", "mixed.png"}


def test_an_old_timeline_stays_while_it_is_kept_and_an_unknown_one_is_refused(
    own_library: Path,
) -> None:
    with client_of(own_library) as client:
        before = client.get(TIMELINE).json()
        (own_library / "photos" / "blue.png").unlink()
        mkt("index", own_library / "photos", "--library", own_library)
        mkt("prune", "--library", own_library)
        assert client.get(TIMELINE).json()["total"] == before["total"] - 1
        page = client.get(f"{TIMELINE}/photos", params={"revision": before["revision"]}).json()
        states = [photo["state"] for photo in page["photos"]]
        assert sorted(states) == ["indexed"] * 5 + ["missing"]
        gone = client.get(f"{TIMELINE}/photos", params={"revision": 999})
        assert gone.status_code == 409 and "ask for it again" in gone.json()["detail"]


@pytest.mark.parametrize("wrong", [{"revision": -1}, {"revision": 1, "count": 501}, {}])
def test_impossible_pages_are_refused(library: Path, wrong: dict[str, int]) -> None:
    with client_of(library) as client:
        assert client.get(f"{TIMELINE}/photos", params=wrong).status_code == 422
