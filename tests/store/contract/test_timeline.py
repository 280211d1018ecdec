"""The timeline of a library in each database."""

from datetime import datetime
from pathlib import Path

from mkt_search.store.records import Batch
from mkt_search.store.store import Store
from mkt_search.store.timeline import Month
from mkt_search.types import NO_FILTERS, Filters, PhotoFacts
from tests import made

TAKEN = {
    "a.jpg": datetime(2024, 5, 1),
    "b/no date.jpg": None,
    "b/c.jpg": datetime(2024, 4, 30, 23, 59, 59, 999000),
    "d.jpg": datetime(1839, 1, 9),
    "e.jpg": datetime(2024, 5, 1, 0, 0, 0, 1000),
    "f.jpg": datetime(9999, 12, 31, 23, 59, 59),
    "gone.jpg": datetime(2020, 1, 1),
}


def fill(store: Store, root: Path) -> dict[int, str]:
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="m")
        photos = [
            made.photo(root, name, row=i, facts=PhotoFacts(4, 4, "PNG", taken_at=at))
            for i, (name, at) in enumerate(TAKEN.items())
        ]
        broken = [made.failed(root, "broken.jpg")]
        store.add(made.location(store, root), stored, Batch(photos, broken, made.vectors(7)))
        names = {photo.id: photo.relative for photo in store.catalog.photos()}
        store.catalog.mark_missing([id_ for id_, name in names.items() if name == "gone.jpg"])
    return names


def test_the_timeline_has_every_photo_that_is_there_by_month(store: Store, root: Path) -> None:
    names = fill(store, root)
    found = store.catalog.timeline(NO_FILTERS)
    assert found.revision == store.catalog.revision()
    in_order = [names[id_] for id_ in found.ids.tolist()]
    assert in_order == ["f.jpg", "e.jpg", "a.jpg", "b/c.jpg", "d.jpg", "b/no date.jpg"]
    assert found.months == (
        Month("9999-12", 0, 1),
        Month("2024-05", 1, 2),
        Month("2024-04", 3, 1),
        Month("1839-01", 4, 1),
        Month(None, 5, 1),
    )


def test_a_timeline_has_only_photos_that_meet_the_filters(store: Store, root: Path) -> None:
    names = fill(store, root)
    found = store.catalog.timeline(Filters(path="b/*"))
    assert [names[id_] for id_ in found.ids.tolist()] == ["b/c.jpg", "b/no date.jpg"]
    assert not len(store.catalog.timeline(Filters(path="nowhere")))
