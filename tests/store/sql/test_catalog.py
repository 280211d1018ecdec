"""The SQL catalog: each method is one transaction, and numbers are of one time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mkt_search.errors import SchemaOutdated
from mkt_search.store.manifest import StoredFile
from mkt_search.store.records import Batch
from mkt_search.store.sql.catalog import SqlCatalog
from mkt_search.store.sql.vector_catalog import VectorCatalog
from tests import made

ROOT = Path("/photos")
SEGMENT = StoredFile("one", 100, bytes(32))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    catalog = SqlCatalog.open(tmp_path / "mkt.db")
    catalog.upgrade()
    yield catalog
    catalog.close()


@pytest.fixture
def encoding_id(catalog: SqlCatalog) -> int:
    vectors = VectorCatalog(catalog.engine)
    return vectors.add_encoding(made.encoding(), model="made", state="active").id


def add(catalog: SqlCatalog, encoding_id: int, *names: str, with_vectors: bool = True) -> None:
    """Record photos; the last one fails."""
    location = catalog.record_scan(catalog.locate(ROOT), [], [])
    *good, bad = names
    photos = [
        made.photo(ROOT, name, row=row if with_vectors else None) for row, name in enumerate(good)
    ]
    batch = Batch(photos, [made.failed(ROOT, bad)])
    segment = SEGMENT if with_vectors else None
    VectorCatalog(catalog.engine).commit(location, encoding_id, batch, segment)


def revision(catalog: SqlCatalog) -> int:
    return VectorCatalog(catalog.engine).revision()


def test_a_database_without_tables_is_refused(tmp_path: Path) -> None:
    empty = SqlCatalog.open(tmp_path / "empty.db")
    with pytest.raises(SchemaOutdated, match="holds no library yet"):
        empty.check_schema()
    empty.upgrade()
    empty.check_schema()
    empty.close()


def test_counts_are_of_photos_segments_and_tags(catalog: SqlCatalog, encoding_id: int) -> None:
    add(catalog, encoding_id, "a.jpg", "b.jpg", "broken.jpg")
    location = catalog.locate(ROOT)
    copy = made.photo(ROOT, "copy.jpg", content=made.sha("a.jpg"))
    VectorCatalog(catalog.engine).commit(location, encoding_id, Batch([copy]), None)
    photo = catalog.photo_at(ROOT / "a.jpg")
    assert photo is not None
    catalog.add_tag([photo.id], "dog")
    counts = catalog.counts()
    assert counts.photos == {"indexed": 3, "failed": 1}
    assert (counts.duplicates, counts.tags) == (1, {"human": 2})  # a copy shares the tag
    assert [(path, photos) for _, path, photos in counts.roots] == [(ROOT, 4)]
    assert (counts.segments, counts.bytes_segments) == (1, 100)


def test_a_scan_records_what_vanished_and_what_came_back(
    catalog: SqlCatalog, encoding_id: int
) -> None:
    add(catalog, encoding_id, "a.jpg", "b.jpg", "broken.jpg")
    ids = {photo.relative: photo.id for photo in catalog.photos()}
    before = revision(catalog)
    catalog.record_scan(catalog.locate(ROOT), [ids["a.jpg"]], [])
    assert catalog.count_indexed() == 1
    assert revision(catalog) == before + 1
    back = made.file(ROOT, "a.jpg", size=77, mtime_ns=5)
    catalog.record_scan(catalog.locate(ROOT), [ids["b.jpg"]], [(ids["a.jpg"], back)])
    states = {photo.relative: (photo.state, photo.size) for photo in catalog.photos()}
    assert states["a.jpg"] == ("indexed", 77) and states["b.jpg"][0] == "missing"
    catalog.record_scan(catalog.locate(ROOT), [], [])
    assert revision(catalog) == before + 2  # nothing changed


def test_photos_without_vectors_come_in_the_order_of_their_paths(
    catalog: SqlCatalog, encoding_id: int
) -> None:
    add(catalog, encoding_id, "b.jpg", "d.jpg", "broken.jpg")
    add(catalog, encoding_id, "c.jpg", "a.jpg", "broken.jpg", with_vectors=False)
    found = [photo.relative for photo in catalog.unencoded_photos([encoding_id])]
    assert found == ["a.jpg", "c.jpg"]
    assert catalog.count_unencoded(encoding_id) == 2
    assert catalog.count_live(encoding_id) == 2


def test_known_photos_say_whether_they_have_vectors(catalog: SqlCatalog, encoding_id: int) -> None:
    add(catalog, encoding_id, "trip/a.jpg", "broken.jpg")
    add(catalog, encoding_id, "trip/b.jpg", "broken.jpg", with_vectors=False)
    known = catalog.known(catalog.locate(ROOT), encoding_id)
    assert {path: (one.state, one.has_vectors) for path, one in known.items()} == {
        "trip/a.jpg": ("indexed", True),
        "trip/b.jpg": ("indexed", False),
        "broken.jpg": ("failed", False),
    }
    assert set(catalog.known(catalog.locate(ROOT / "trip"), None)) == {"trip/a.jpg", "trip/b.jpg"}
    assert set(catalog.known(catalog.locate(ROOT.parent), None)) == {
        f"photos/{path}" for path in known
    }


def test_a_reader_sees_one_time_while_a_writer_works(catalog: SqlCatalog, encoding_id: int) -> None:
    names = [f"{number:04}.jpg" for number in range(30)]
    add(catalog, encoding_id, *names, "broken.jpg")
    reading = catalog.photos(state="indexed")
    first = next(reading)
    catalog.mark_missing([photo.id for photo in catalog.photos(state="indexed")])
    assert [photo.state for photo in reading] == ["indexed"] * 29
    assert first.state == "indexed" and catalog.count_indexed() == 0
