"""Hits: what was found, with paths, copies and boxes."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from mkt_search.errors import LibraryDamaged
from mkt_search.search.hits import hits_of
from mkt_search.search.search import Found
from mkt_search.store.records import Batch
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql.database import transaction
from mkt_search.store.store import Store
from mkt_search.types import Filters, Hit, ImageSpec, PhotoFacts, PhotoVectors, Vector
from tests import made

GREY = (0.5, 0.5, 0.5)
SPEC = ImageSpec(120, 90, GREY, GREY)  # a grid of 3 x 4 patches
X_AXIS = np.eye(made.DIM, dtype=np.float32)[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two photos; the first is best in the upper left corner, and has two copies."""
    store = Store.create(tmp_path / ".mkt")
    local_vectors = np.zeros((2, 1, made.DIM), np.float32)
    local_vectors[:, 0, 0] = 1
    members = np.zeros((2, 1, 12), np.bool_)
    members[0, 0, [0, 1, 4, 5]] = True  # patches of two rows
    members[1, 0, [3, 7, 11, 10]] = True
    vectors = PhotoVectors(np.zeros((2, made.DIM), np.float32), local_vectors, members)
    wide = PhotoFacts(500, 80, "JPEG")
    photos = [
        made.photo(tmp_path, "a.jpg", row=0),
        made.photo(tmp_path, "b.jpg", row=1),
        made.photo(tmp_path, "copy/a.jpg", content=made.sha("a.jpg"), facts=wide),
        made.photo(tmp_path, "copy/b.png", content=made.sha("a.jpg")),
    ]
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(m=1), model="made")
        store.add(made.location(store, tmp_path), stored, Batch(photos, (), vectors))
    yield store
    store.close()


def found(
    store: Store, *names: str, filters: Filters | None = None, label: Vector | None = None
) -> list[Hit]:
    """Make hits of photos as if a search had found them in this order."""
    assert store.active is not None
    snapshot = LocalSnapshot.open(store, store.active)
    ids = store.catalog.content_ids_of([made.sha(name) for name in names])
    content_ids = np.array([ids[made.sha(name)] for name in names])
    global_scores = np.linspace(0.5, 0.25, len(names), dtype=np.float32)
    result = Found(content_ids, global_scores, global_scores / 2)
    where = filters or Filters()
    return hits_of(store.catalog, snapshot, result, where, label=label, spec=SPEC)


def relative(hit: Hit, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in (hit.path, *hit.copies)]


def test_hits_keep_the_order_and_both_parts_of_the_score(store: Store) -> None:
    hits = found(store, "b.jpg", "a.jpg")
    assert [hit.path.name for hit in hits] == ["b.jpg", "a.jpg"]
    assert [(hit.score, hit.global_part, hit.local_part) for hit in hits] == [
        (0.75, 0.5, 0.25),
        (0.375, 0.25, 0.125),
    ]


def test_photos_with_the_same_bytes_are_one_hit_with_copies(store: Store, tmp_path: Path) -> None:
    first, second = found(store, "a.jpg", "b.jpg")
    assert relative(first, tmp_path) == ["a.jpg", "copy/a.jpg", "copy/b.png"]
    assert relative(second, tmp_path) == ["b.jpg"]


def test_copies_meet_the_filters_too(store: Store, tmp_path: Path) -> None:
    (hit,) = found(store, "a.jpg", filters=Filters(path="*copy/*"))
    assert relative(hit, tmp_path) == ["copy/a.jpg", "copy/b.png"]
    (hit,) = found(store, "a.jpg", filters=Filters(min_width=500))
    assert relative(hit, tmp_path) == ["copy/a.jpg"]


def test_boxes_show_the_patches_of_the_best_local_vector(store: Store) -> None:
    first, second = found(store, "a.jpg", "b.jpg", label=X_AXIS)
    (box,) = first.boxes
    assert (box.left, box.right, box.top) == (0, 0.5, 0)
    assert box.bottom == pytest.approx(2 / 3)
    (box,) = second.boxes
    assert (box.left, box.right, box.top, box.bottom) == (0.5, 1, 0, 1)


@pytest.mark.parametrize("decoder", [1, 2])
def test_boxes_of_a_panorama_lie_in_its_views_unless_it_was_seen_whole(
    tmp_path: Path, decoder: int
) -> None:
    vectors = made.vectors(1, m=1)
    vectors.local_vectors[0, 0] = X_AXIS
    views = np.zeros((1, 1, 60 if decoder > 1 else 12), np.bool_)  # 5 views of 12 patches
    views[0, 0, -12] = True  # the first patch of the last view, or of the only one
    strip = made.photo(tmp_path, "a.jpg", row=0, facts=PhotoFacts(300, 100, "JPEG"))
    panorama = PhotoVectors(vectors.global_vectors, vectors.local_vectors, views)
    store = Store.create(tmp_path / "other" / ".mkt")
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(m=1, decoder=decoder), model="made")
        store.add(made.location(store, tmp_path), stored, Batch([strip], (), panorama))
    (hit,) = found(store, "a.jpg", label=X_AXIS)
    store.close()
    (box,) = hit.boxes
    across = 0.25 if decoder > 1 else 1.0  # of the strip, that a view shows
    assert (box.left, box.top) == (1 - across, 0)
    assert box.right == pytest.approx(1 - across + across / 4)
    assert box.bottom == pytest.approx(1 / 3)


def test_without_a_label_there_are_no_boxes(store: Store) -> None:
    assert found(store, "a.jpg")[0].boxes == ()


BOTH = Found(np.array([1, 2]), np.ones(2, np.float32), np.ones(2, np.float32))


def test_vectors_without_a_photo_are_damage(store: Store) -> None:
    assert store.active is not None
    snapshot = LocalSnapshot.open(store, store.active)
    with transaction(store.catalog.engine) as session:
        session.execute(text("UPDATE photo SET state = 'failed' WHERE path = 'b.jpg'"))
    with pytest.raises(LibraryDamaged, match="mkt verify"):
        hits_of(store.catalog, snapshot, BOTH, Filters())


CHANGES = [
    "UPDATE photo SET path = 'c.jpg' WHERE path = 'b.jpg'",
    "UPDATE photo SET content_id = 2 WHERE content_id = 1",
    "UPDATE root SET path = '/elsewhere'",
    "UPDATE content SET sha256 = zeroblob(32) WHERE id = 2",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_that_another_tool_changed_is_never_a_hit(store: Store, change: str) -> None:
    assert store.active is not None
    snapshot = LocalSnapshot.open(store, store.active)
    other = sqlite3.connect(store.directory / "mkt.db")
    other.execute(change)
    other.commit()
    other.close()
    with pytest.raises(LibraryDamaged, match=r"mkt\.db from a backup"):
        hits_of(store.catalog, snapshot, BOTH, Filters())
