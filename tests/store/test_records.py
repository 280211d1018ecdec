"""Records that derive something: the order of a batch, the path of a photo."""

from pathlib import Path

from mkt_search.store.records import Batch, PhotoRecord
from tests import made

ROOT = Path("/photos")


def test_photos_with_vectors_come_in_the_order_of_their_rows() -> None:
    photos = [
        made.photo(ROOT, "b.jpg", row=1),
        made.photo(ROOT, "copy.jpg"),
        made.photo(ROOT, "a.jpg", row=0),
    ]
    assert [photo.file.path for photo in Batch(photos).encoded] == ["a.jpg", "b.jpg"]
    assert Batch([]).encoded == []


def test_a_photo_lies_below_its_root_under_any_name() -> None:
    def path(relative: str) -> Path:
        return PhotoRecord(1, ROOT, relative, None, "indexed", None, 1, None).path

    assert path("trip/a.jpg") == ROOT / "trip" / "a.jpg"
    assert bytes(path("not \\xff utf-8.jpg")) == b"/photos/not \xff utf-8.jpg"
