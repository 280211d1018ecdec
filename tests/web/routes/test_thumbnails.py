"""Thumbnails over HTTP: immutable, with correct answers to conditional requests."""

import io
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from mkt_search import Library
from tests.command_line import mkt
from tests.made import sha
from tests.odd_photos import assert_upright, picture
from tests.tiny import paint
from tests.web.client import client_of


def address(client: TestClient, name: str, side: int = 256) -> str:
    """Return where a photo's thumbnail is."""
    found = client.get("/api/v1/photos", params={"limit": 100}).json()["photos"]
    [id_] = [photo["photo"] for photo in found if Path(photo["path"]).name == name]
    return f"{client.get(f'/api/v1/photos/{id_}').json()['thumbnail']}/{side}.webp"


def test_a_thumbnail_is_immutable_and_a_client_that_has_it_gets_304(own_library: Path) -> None:
    with client_of(own_library) as client:
        url = address(client, "blue.png")
        found = client.get(url)
        assert found.status_code == 200 and found.headers["content-type"] == "image/webp"
        assert found.headers["cache-control"] == "private, max-age=31536000, immutable"
        image = Image.open(io.BytesIO(found.content))
        assert (image.format, image.size) == ("WEBP", (256, 128))
        etag = found.headers["etag"]
        for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = client.get(url, headers={"If-None-Match": condition})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
        assert client.get(url, headers={"If-None-Match": '"other"'}).content == found.content
        assert client.get(url.replace("256", "512")).headers["etag"] != etag


def test_a_grid_knows_the_colour_of_a_photo_that_had_a_thumbnail(own_library: Path) -> None:
    with client_of(own_library) as client:
        hits = client.get("/api/v1/search", params={"q": "green", "k": 1}).json()["hits"]
        assert hits[0]["colour"] is None
        client.get(f"{hits[0]['thumbnail']}/256.webp")
        hits = client.get("/api/v1/search", params={"q": "green", "k": 1}).json()["hits"]
        assert hits[0]["colour"] == "#00ff00"


def test_turned_photos_and_other_formats_are_upright(own_library: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    photos = own_library / "photos"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture((96, 64)).transpose(Image.Transpose.ROTATE_90)
    turned.save(photos / "turned.jpg", exif=exif, quality=95)
    pillow_heif.from_pillow(picture((96, 64))).save(photos / "modern.heic", quality=90)
    mkt("index", photos, "--library", own_library)
    with client_of(own_library) as client:
        for name in ("turned.jpg", "modern.heic"):
            found = client.get(address(client, name, 512))
            assert found.status_code == 200, found.text
            image = Image.open(io.BytesIO(found.content)).convert("RGB")
            assert image.size == (96, 64)
            assert_upright(image, tolerance=40)


def test_only_unchanged_photos_of_the_library_have_thumbnails(own_library: Path) -> None:
    photos = own_library / "photos"
    with client_of(own_library) as client:
        url = address(client, "green.png")
        paint(photos / "green.png", "red")
        changed = client.get(url)
        assert changed.status_code == 410 and "has changed" in changed.json()["detail"]
        assert (
            "cache-control" not in changed.headers
            or "immutable" not in (changed.headers["cache-control"])
        )
        (photos / "green.png").unlink()
        assert client.get(url).status_code == 410
        mkt("index", photos, "--library", own_library)
        assert client.get(url).status_code == 404
        assert client.get(f"/thumbnails/{sha('other')}/256.webp").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "/thumbnails/../mkt.db/256.webp",
        "/thumbnails/..%2F..%2Fmkt.db/256.webp",
        f"/thumbnails/{'A' * 64}/256.webp",
        f"/thumbnails/{'a' * 64}/300.webp",
        f"/thumbnails/{'a' * 64}/256.png",
        f"/thumbnails/{'a' * 63}/256.webp",
        f"/thumbnails/{'a' * 64}%00/256.webp",
    ],
)
def test_an_address_is_a_digest_and_a_size_and_nothing_else(library: Path, url: str) -> None:
    with client_of(library) as client:
        assert client.get(url).status_code in (404, 422)


def test_a_stranger_gets_no_thumbnail(library: Path) -> None:
    with client_of(library) as client:
        url = address(client, "red.png")
    with client_of(library, token=None) as stranger:
        assert stranger.get(url).status_code == 401


def test_a_file_that_became_a_bomb_is_refused(own_library: Path) -> None:
    """Its bytes are not those of the address, so they are never decoded."""
    with client_of(own_library) as client:
        url = address(client, "green.png")
        Image.new("1", (40_000, 40_000)).save(own_library / "photos" / "green.png")
        assert client.get(url).status_code == 410


def test_thumbnails_do_not_confuse_other_commands(own_library: Path) -> None:
    with client_of(own_library) as client:
        assert client.get(address(client, "red.png")).status_code == 200
    assert list((own_library / ".mkt" / "thumbnails").glob("*.webp"))
    with Library.open(own_library) as library:
        assert library.verify() == []
        library.prune()
        assert library.status().photos["indexed"] == 6
        assert library.index(dry_run=True).indexed == 0
    assert list((own_library / ".mkt" / "thumbnails").glob("*.webp"))
