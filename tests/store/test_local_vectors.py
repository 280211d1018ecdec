"""`LocalVectorStore`: what it adds counts once the catalog names it; snapshots follow a writer."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import LibraryDamaged
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.interfaces import Snapshot, VectorStore
from mkt_search.store.records import Batch
from mkt_search.store.store import Store
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    for number in range(2):
        made.fill(store, tmp_path / "photos", 3, seed=number, name=f"{number}-")
    return store


def vector_store(store: Store) -> VectorStore:
    assert store.active is not None
    return store.vector_store(store.active)


def test_added_vectors_count_once_the_catalog_names_their_segment(store: Store) -> None:
    vectors, root = vector_store(store), store.directory.parent / "photos"
    new, photo = made.vectors(1, 9), made.photo(root, "new.jpg", row=0)
    segment = vectors.add(new, [photo.content])
    assert (store.folder / segment.name).stat().st_size == segment.size
    assert vectors.snapshot().facts.photos == 6
    batch = Batch([photo], (), new)
    store.vectors.commit(store.catalog.locate(root), vectors.stored.id, batch, segment)
    snapshot: Snapshot = vectors.snapshot()
    assert snapshot.facts.photos == 7
    ids = np.array(list(store.catalog.content_ids_of([photo.content]).values()))
    found = snapshot.vectors(ids).vectors[:, 0]
    np.testing.assert_allclose(found, new.global_vectors, atol=0.02)


def test_removed_segments_are_gone_and_unknown_ones_ignored(store: Store) -> None:
    vectors = vector_store(store)
    segment = vectors.add(made.vectors(1, 9), [made.sha("other")])
    vectors.remove([segment.name, segment.name])
    assert not (store.folder / segment.name).exists()
    assert vectors.snapshot().facts.photos == 6


def test_a_snapshot_is_the_same_until_something_changes(store: Store) -> None:
    vectors = vector_store(store)
    before = vectors.snapshot()
    assert vectors.snapshot() is before
    assert store.active is not None
    compact(store, store.active, CompactionPolicy(min_segments=1))
    assert vectors.snapshot() is not before
    assert sorted(vectors.snapshot().content_ids()) == sorted(before.content_ids())


def test_segments_that_a_writer_replaces_meanwhile_are_opened_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, manifest = vector_store(store), store.vectors.manifest

    def then_merge(*arguments: object, **options: object) -> object:
        monkeypatch.undo()
        found = manifest(*arguments, **options)  # type: ignore[arg-type]
        assert store.active is not None
        compact(store, store.active, CompactionPolicy(min_segments=1))
        return found

    monkeypatch.setattr(store.vectors, "manifest", then_merge)
    assert vectors.snapshot().facts.photos == 6


def test_a_missing_segment_is_damage(store: Store) -> None:
    next(store.folder.iterdir()).unlink()
    with pytest.raises(LibraryDamaged, match="is missing"):
        vector_store(store).snapshot()
