"""Paths are found as people read them, whatever machine named the files."""

from pathlib import Path

from mkt_search.store.records import Batch
from mkt_search.store.store import Store
from mkt_search.types import Filters
from tests import made


def test_a_path_is_found_in_every_spelling(store: Store, root: Path) -> None:
    names = [
        "Sommer/E\u0301te\u0301 at 3.04\u202fPM.jpg",
        "Straße.jpg",
        "ПЛЯЖ\u200b.jpg",
        "copy of a.jpg",
    ]
    photos = [made.photo(root, name, row=i) for i, name in enumerate(names)]
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="made")
        store.add(made.location(store, root), stored, Batch(photos, (), made.vectors(4)))

    def found(glob: str) -> list[str]:
        return [photo.relative for photo in store.catalog.photos(filters=Filters(path=glob))]

    for glob in ("été", "E\u0301TE\u0301", "*/?t? at 3.04 pm.jpg", "at 3.04\u00a0PM"):
        assert found(glob) == names[:1], glob
    assert found("stra?e.jpg") == found("STRAẞE") == names[1:2]
    assert found("пляж.jpg") == found("*/Пля?.jpg") == names[2:3]
    assert found("ete") == []
    assert found("COPY of") == ["copy of a.jpg"]
