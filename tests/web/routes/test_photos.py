"""Photos over HTTP: one by its id, lists page by page, and what was left out."""

from pathlib import Path

from starlette.testclient import TestClient

from mkt_search import Library
from tests.web.client import client_of


def test_a_photo_has_its_facts_its_tags_and_its_copies(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        opened.tag(["red", "blue"], top=1)
        path = own_library / "photos" / "red.png"
        opened.add_tag(path, "a/b #?")
        opened.remove_tag(path, "snow")
        photo = opened.photo(path)
    with client_of(own_library) as client:
        found = client.get(f"/api/v1/photos/{photo.id}").json()
    assert (found["name"], found["state"], found["error"]) == ("red.png", "indexed", None)
    assert (found["width"], found["height"], found["format"]) == (128, 128, "PNG")
    assert (found["taken_at"], found["date_source"]) == ("2020-02-02T12:00:00", "mtime")
    by_hand, by_run = found["tags"]
    assert (by_hand["label"], by_hand["source"], by_hand["score"]) == ("a/b #?", "human", None)
    assert (by_run["label"], by_run["source"], by_run["score"]) == ("red", "auto", 1.0)
    assert found["refused"] == ["snow"]
    assert found["copies"] == [str(own_library / "photos" / "trip" / "copy.png")]


def test_a_photo_that_has_left_the_library_is_not_found(own_library: Path) -> None:
    with client_of(own_library) as client, Library.open(own_library) as opened:
        photo = client.get("/api/v1/search?q=green&k=1").json()["hits"][0]["photo"]
        (own_library / "photos" / "green.png").unlink()
        opened.index(own_library / "photos")
        assert client.get(f"/api/v1/photos/{photo}").json()["state"] == "missing"
        opened.prune()
        answer = client.get(f"/api/v1/photos/{photo}")
        assert answer.status_code == 404
        assert answer.json()["detail"] == (
            f"There is no photo {photo} in the library. It may have been removed since."
        )


def test_photos_are_listed_page_by_page(client: TestClient) -> None:
    ids, after = [], 0
    while after is not None:
        page = client.get("/api/v1/photos", params={"after": after, "limit": 3}).json()
        ids += [photo["photo"] for photo in page["photos"]]
        after = page["next"]
    assert ids == sorted(set(ids))
    assert len(ids) == 7


def test_failed_photos_have_their_reason(client: TestClient) -> None:
    (failed,) = client.get("/api/v1/photos?state=failed").json()["photos"]
    assert failed["path"].endswith("broken.jpg")
    assert failed["error"]
    answer = client.get("/api/v1/photos?state=odd")
    assert answer.status_code == 422
    assert "Input should be 'indexed', 'failed' or 'missing'" in answer.json()["detail"]


def test_what_was_left_out_is_listed_with_its_reason(own_library: Path) -> None:
    (own_library / "photos" / "notes.txt").write_text("milk")
    with client_of(own_library) as client:
        (left_out,) = client.get("/api/v1/left-out").json()
    assert left_out["path"].endswith("notes.txt")
    assert left_out["reason"] == "not a photo"


def test_a_photo_shows_where_its_terms_are(client: TestClient) -> None:
    mixed = client.get("/api/v1/search?q=red&path=mixed").json()["hits"][0]["photo"]
    answer = client.get(f"/api/v1/photos/{mixed}/regions", params={"q": "red - 2*green"})
    red, green = answer.json()["terms"]
    assert (red["label"], green["label"], green["weight"]) == ("red", "green", -2)
    assert red["boxes"][0] == {"left": 0.75, "top": 0, "right": 1, "bottom": 0.25}
    assert (red["heat"]["rows"], red["heat"]["columns"]) == (4, 4)
    assert red["heat"]["values"].index(1.0) == 3
    failed = client.get("/api/v1/photos?state=failed").json()["photos"][0]["photo"]
    assert client.get(f"/api/v1/photos/{failed}/regions?q=red").status_code == 400


def test_a_photo_that_became_a_link_out_of_the_library_is_not_shown(
    own_library: Path, tmp_path: Path
) -> None:
    with client_of(own_library) as client:
        hit = client.get("/api/v1/search?q=green&k=1").json()["hits"][0]
        secret = tmp_path / "secret.png"
        secret.write_bytes((own_library / "photos" / "yellow.jpg").read_bytes())
        Path(hit["path"]).unlink()
        Path(hit["path"]).symlink_to(secret)
        answer = client.get(f"{hit['thumbnail']}/256.webp")
        assert answer.status_code == 410
        assert "has changed since it was indexed" in answer.json()["detail"]
