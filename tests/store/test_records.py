"""Photos as they enter the catalog and as they come out of it."""

from pathlib import Path

from mkt_search.store.records import PhotoRecord


def test_the_path_of_a_photo_is_below_its_root_with_its_very_bytes() -> None:
    record = PhotoRecord(1, Path("/photos"), "caf\\xe9/a.jpg", None, "failed", "broken", 3, None)
    assert record.path == Path("/photos/caf\udce9/a.jpg")
