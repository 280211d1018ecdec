"""Photos in the catalog: identity by content, folders, filters, failures, missing files."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from mkt_search.errors import QueryError
from mkt_search.store.records import Batch
from mkt_search.store.status import status
from mkt_search.store.store import Store
from mkt_search.types import Filters, PhotoFacts
from tests import made

FACTS = {
    "2019/beach_1.jpg": PhotoFacts(
        100, 50, "JPEG", 6, datetime(2019, 5, 1, 12, 30, 15, 250000), "Canon EOS 5D", 48.1, -11.5
    ),
    "2020/50% off.jpg": PhotoFacts(
        4000, 3000, "JPEG", taken_at=datetime(2020, 5, 1), camera="NIKON D90"
    ),
    "2020/dog.png": PhotoFacts(4000, 200, "PNG"),
    "B/Äpfel.JPG": PhotoFacts(640, 480, "JPEG", camera="Zoë 3"),
    "a/\\xe9t\\xe9.jpg": PhotoFacts(640, 480, "JPEG"),  # two bytes that are not UTF-8
}
NAMES = list(FACTS)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    """Five photos with facts, in one batch."""
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="m")
        photos = [made.photo(root, n, row=i, facts=FACTS[n]) for i, n in enumerate(NAMES)]
        store.add(made.location(store, root), stored, Batch(photos, (), made.vectors(len(photos))))
    return store


def paths(store: Store, **filters: object) -> list[str]:
    found = store.catalog.photos(filters=Filters(**filters))  # type: ignore[arg-type]
    return [record.relative for record in found]


def test_photos_come_back_as_they_were_added_in_the_order_of_their_paths(
    filled: Store, root: Path
) -> None:
    records = list(filled.catalog.photos(state="indexed"))
    assert [record.relative for record in records] == NAMES  # by bytes: "B" before "a"
    for record in records:
        assert record.facts == FACTS[record.relative]
        assert (record.root, record.content) == (root, made.sha(record.relative))
        assert filled.catalog.photo_at(record.path) == record
    assert filled.catalog.photo_at(root / "other.jpg") is None
    assert filled.catalog.photo_at(root.parent) is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"path": "2020/*"}, [1, 2]),
        ({"path": "*.jpg"}, [0, 1, 3, 4]),
        ({"path": "*.JPG"}, [0, 1, 3, 4]),
        ({"path": "50%"}, [1]),
        ({"path": "h_1"}, [0]),
        ({"path": "2020/d??.png"}, [2]),
        ({"path": "*/photos/2019/*"}, [0]),
        ({"path": "Äpfel"}, [3]),
        ({"path": "äpfel"}, [3]),
        ({"path": os.fsdecode(b"\xe9t")}, [4]),
        ({"after": datetime(2020, 1, 1)}, [1]),
        ({"before": datetime(2020, 1, 1)}, [0]),
        ({"after": datetime(2019, 5, 1, 12, 30, 15, 250000)}, [0, 1]),
        ({"camera": "nikon"}, [1]),
        ({"camera": "zoë"}, [3]),
        ({"camera": "_"}, []),
        ({"min_width": 1000}, [1, 2]),
        ({"min_height": 480}, [1, 3, 4]),
        ({"min_width": 1000, "min_height": 1000}, [1]),
        ({"tag": "dog"}, [0, 2]),
        ({"tag": "Dog"}, [0, 2]),
        ({"path": "2020/*", "tag": "dog"}, [2]),
        ({"path": "2020/*", "camera": "canon"}, []),
    ],
    ids=str,
)
def test_filters(filled: Store, filters: dict[str, object], expected: list[int]) -> None:
    ids = [photo.id for photo in filled.catalog.photos()]
    filled.catalog.add_tag([ids[0], ids[2]], "dog")
    wanted = Filters(**filters)  # type: ignore[arg-type]
    assert paths(filled, **filters) == [NAMES[i] for i in expected]
    content_ids = filled.catalog.content_ids_of({made.sha(name) for name in NAMES})
    contents = {content_ids[made.sha(NAMES[i])] for i in expected}
    assert set(filled.catalog.matching_content_ids(wanted)) == contents
    behind = filled.catalog.photos_of_contents(list(content_ids.values()), wanted)
    assert behind.keys() == contents
    assert sorted(photo.relative for [photo] in behind.values()) == paths(filled, **filters)


def test_shown_contents_are_those_with_an_indexed_photo_by_their_oldest_one(
    filled: Store, root: Path
) -> None:
    stored = filled.active
    assert stored is not None
    with filled.writing("test"):
        copy = made.photo(root, "copy.jpg", content=made.sha(NAMES[3]))
        filled.add(made.location(filled, root), stored, Batch([copy]))
    ids = {photo.relative: photo.id for photo in filled.catalog.photos()}
    filled.catalog.mark_missing([ids[NAMES[1]], ids[NAMES[3]]])  # of the last a copy is left
    shown = filled.catalog.shown_contents()
    names = (NAMES[0], NAMES[2], NAMES[4], NAMES[3])
    assert shown.photo_ids.tolist() == [
        ids[name] for name in (NAMES[0], NAMES[2], NAMES[4], "copy.jpg")
    ]
    by_sha = filled.catalog.content_ids_of({made.sha(name) for name in NAMES})
    assert shown.content_ids.tolist() == [by_sha[made.sha(name)] for name in names]
    assert shown.keys.tolist() == [int(made.sha(name)[:16], 16) for name in names]


def test_an_empty_library_shows_no_contents(store: Store) -> None:
    assert [len(array) for array in store.catalog.shown_contents()] == [0, 0, 0]


def test_copies_share_one_set_of_vectors(store: Store, root: Path) -> None:
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="m")
        twins = [
            made.photo(root, "a.jpg", row=0, content=made.sha("same")),
            made.photo(root, "b.jpg", content=made.sha("same")),
        ]
        store.add(made.location(store, root), stored, Batch(twins, (), made.vectors(1)))
    assert store.catalog.count_live(stored.id) == 1
    assert status(store).duplicates == 1
    [content] = store.catalog.content_ids_of([made.sha("same")]).values()
    both = store.catalog.photos_of_contents([content], Filters())[content]
    assert [photo.relative for photo in both] == ["a.jpg", "b.jpg"]


def test_copies_are_found_by_their_content(filled: Store) -> None:
    stored = filled.active
    assert stored is not None
    ids = [photo.id for photo in filled.catalog.photos()]
    filled.catalog.mark_missing([ids[1]])
    asked = [made.sha(NAMES[0]), made.sha(NAMES[1]), made.sha("unknown")]
    found = filled.catalog.copies(asked, stored.id)
    assert found.encoded == {asked[0], asked[1]}
    assert found.facts == {asked[0]: FACTS[NAMES[0]], asked[1]: FACTS[NAMES[1]]}
    assert found.missing == {asked[1]: [(ids[1], NAMES[1])]}


def test_a_renamed_photo_keeps_its_row(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1)
    [before] = store.catalog.photos()
    moved = made.photo(root, "new/name.jpg", content=made.sha("p000.jpg"), renames=before.id)
    store.add(made.location(store, root), stored, Batch([moved]))
    [after] = store.catalog.photos()
    assert (after.id, after.relative) == (before.id, "new/name.jpg")


def test_a_failed_photo_is_a_row_with_its_reason(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1)
    place = made.location(store, root)
    store.add(place, stored, Batch([], [made.failed(root, "bad.jpg", "truncated")]))
    found = store.catalog.known(place, stored.id)["bad.jpg"]
    assert (found.state, found.error, found.has_vectors) == ("failed", "truncated", False)
    [failed] = store.catalog.photos(state="failed")
    assert (failed.relative, failed.facts) == ("bad.jpg", None)


def test_a_photo_that_could_not_be_read_for_a_while_keeps_its_bytes(
    store: Store, root: Path
) -> None:
    stored = made.fill(store, root, 1)
    place = made.location(store, root)
    store.add(place, stored, Batch([], [made.failed(root, "p000.jpg", "permission denied")]))
    assert store.catalog.known(place, stored.id)["p000.jpg"].content == made.sha("p000.jpg")
    assert store.catalog.count_indexed() == 0


def test_missing_photos_stay_until_they_return(store: Store, root: Path) -> None:
    made.fill(store, root, 3)
    ids = [photo.id for photo in store.catalog.photos()]
    location = store.catalog.locate(root)
    before = store.revision()
    store.catalog.record_scan(location, ids[:2], [])
    assert [photo.id for photo in store.catalog.photos(state="missing")] == ids[:2]
    back = made.file(root, "p000.jpg", size=99, mtime_ns=2**40)
    store.catalog.record_scan(location, [], [(ids[0], back)])
    known = store.catalog.known(location, store.active.id)
    assert [known[f"p00{n}.jpg"].state for n in range(3)] == ["indexed", "missing", "indexed"]
    assert (known["p000.jpg"].size, known["p000.jpg"].mtime_ns) == (99, 2**40)
    assert store.revision() == before + 2
    store.catalog.record_scan(location, [], [])
    assert store.revision() == before + 2


def test_a_folder_is_located_without_being_registered(store: Store, root: Path) -> None:
    sub = root / "2019"
    sub.mkdir()
    made.fill(store, sub, 1)
    location = store.catalog.locate(root)
    assert (location.id, location.path, location.prefix) == (None, root, "")
    assert list(store.catalog.known(location, store.active.id)) == ["2019/p000.jpg"]
    assert store.catalog.root_folders() == [sub]


def test_a_folder_above_known_ones_takes_them_in(store: Store, root: Path) -> None:
    for name in ("2019", "2020"):
        (root / name).mkdir()
        made.fill(store, root / name, 1, seed=int(name), name=name)
    location = store.catalog.record_scan(store.catalog.locate(root), [], [])
    assert location.id is not None and store.catalog.root_folders() == [root]
    expected = ["2019/2019000.jpg", "2020/2020000.jpg"]
    assert list(store.catalog.known(location, store.active.id)) == expected
    below = store.catalog.locate(root / "2019")
    assert (below.id, below.prefix) == (location.id, "2019/")
    assert list(store.catalog.known(below, store.active.id)) == expected[:1]


def test_folders_whose_names_differ_by_case_are_two(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1)
    (root / "A").mkdir()
    copies = [made.photo(root, path, content=made.sha("p000.jpg")) for path in ("A/x", "a/x")]
    store.add(made.location(store, root), stored, Batch(copies))
    assert list(store.catalog.known(made.location(store, root / "A"), stored.id)) == ["A/x"]


def test_a_moved_disk_is_one_update(store: Store, root: Path, tmp_path: Path) -> None:
    made.fill(store, root, 3)
    new = tmp_path / "disk"
    new.mkdir()
    assert store.catalog.move_root(root, new) == 3
    assert next(store.catalog.photos()).path == new / "p000.jpg"
    with pytest.raises(QueryError, match="not a folder of this library"):
        store.catalog.move_root(root, new)
    made.fill(store, root, 1, seed=1, name="q")
    with pytest.raises(QueryError, match="overlaps"):
        store.catalog.move_root(root, tmp_path)


def test_more_photos_than_fit_one_query(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 1_200)
    contents = {made.sha(f"p{i:03}.jpg") for i in range(1_200)}
    ids = store.catalog.content_ids_of(contents)
    assert ids.keys() == contents
    assert store.catalog.copies(contents, stored.id).encoded == contents
    assert len(store.catalog.photos_of_contents([*ids.values()], Filters())) == 1_200
    assert [photo.relative for photo in store.catalog.photos()] == sorted(
        f"p{i:03}.jpg" for i in range(1_200)
    )
    assert list(store.catalog.unencoded_photos([stored.id])) == []
    other = store.begin_encoding(made.encoding(m=3), model="m", rebuild=True)
    assert store.catalog.count_unencoded(other.id) == 1_200
    assert len(list(store.catalog.unencoded_photos([other.id]))) == 1_200


def test_photos_are_found_by_id_and_listed_page_by_page(store: Store, root: Path) -> None:
    made.fill(store, root, 5)
    ids = sorted(photo.id for photo in store.catalog.photos())
    found = store.catalog.photos_of_ids([ids[0], ids[3], 10_000])
    assert sorted(found) == [ids[0], ids[3]]
    assert found[ids[0]] == next(p for p in store.catalog.photos() if p.id == ids[0])
    first = store.catalog.photos_after(0, count=3)
    rest = store.catalog.photos_after(first[-1].id, count=3)
    assert [photo.id for photo in (*first, *rest)] == ids
    store.catalog.mark_missing([ids[1]])
    assert [p.id for p in store.catalog.photos_after(0, state="missing", count=9)] == [ids[1]]
