"""The journal and the row map: a reader that catches up knows what one that reads everything knows.

Compaction, pruning, repair and the candidate index are among the steps a reader catches up with.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mkt_search.errors import CheckpointMismatch, LibraryDamaged
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.checks import verify
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.optimize import optimize
from mkt_search.store.prune import prune
from mkt_search.store.records import Batch, NewPhoto, PruneReport
from mkt_search.store.snapshot import LocalSnapshot, RenewPolicy
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.schema import ChangeRow
from mkt_search.store.store import Store
from mkt_search.types import ImageSpec, ModelRecord
from tests import made

PHOTOS = 40
SMALL_INDEX = BuildPolicy(min_photos=20, calibration_labels=4, calibration_pairs=2)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    """Forty photos in one segment."""
    made.fill(store, root, PHOTOS)
    return store


def active(store: Store) -> StoredEncoding:
    stored = store.active
    assert stored is not None
    return stored


def folder(store: Store) -> Path:
    return store.directory.parent / "photos"


def opened(store: Store) -> LocalSnapshot:
    return LocalSnapshot.open(store, active(store), policy=RenewPolicy(max_stale_share=0.99))


def vectors(snapshot: LocalSnapshot) -> dict[int, bytes]:
    """Every live vector by its content id."""
    ids = snapshot.content_ids()
    rows = snapshot.vectors(ids).vectors
    return {id_: row.tobytes() for id_, row in zip(ids.tolist(), rows, strict=True)}


def by_rows(store: Store) -> dict[int, bytes]:
    """The same, read from the rows of the database alone."""
    snapshot = LocalSnapshot.open(store, active(store), by_rows=True)
    live = store.manifest(active(store).id).live
    assert set(map(tuple, snapshot.vector_rows().tolist())) == set(map(tuple, live.tolist()))
    return vectors(snapshot)


# What a writer does. Each step takes the library and a number that chooses photos.


def ids(store: Store, which: int, state: str = "indexed") -> list[int]:
    """Up to three photos."""
    found = [photo.id for photo in store.catalog.photos(state=state)]
    return [found[(which + i) % len(found)] for i in range(min(3, len(found)))]


def add(store: Store, which: int) -> None:
    photos = [made.photo(folder(store), f"n{which}-{i}.jpg", row=i) for i in range(2)]
    commit(store, photos, which)


def edit(store: Store, which: int) -> None:
    paths = [f"p{(which + i) % PHOTOS:03}.jpg" for i in range(2)]
    photos = [
        made.photo(folder(store), path, row=i, content=made.sha(f"{path}{which}"))
        for i, path in enumerate(paths)
    ]
    commit(store, photos, which)


def copy(store: Store, which: int) -> None:
    """A file gets the bytes of another one that the library has."""
    source = made.sha(f"p{which % PHOTOS:03}.jpg")
    if source in store.catalog.copies([source], active(store).id).encoded:
        path = f"p{which * 7 % PHOTOS:03}.jpg"
        commit(store, [made.photo(folder(store), path, content=source)], 0)


def fail(store: Store, which: int) -> None:
    failed = [made.failed(folder(store), f"p{which % PHOTOS:03}.jpg")]
    store.add(made.location(store, folder(store)), active(store), Batch([], failed))


def commit(store: Store, photos: list[NewPhoto], seed: int) -> None:
    shas = [photo.content for photo in photos]
    encoded = store.catalog.copies(shas, active(store).id).encoded
    if any(photo.row is not None and photo.content in encoded for photo in photos):
        return  # the indexer would not encode them again
    rows = sum(photo.row is not None for photo in photos)
    new = made.vectors(rows, seed) if rows else None
    store.add(made.location(store, folder(store)), active(store), Batch(photos, (), new))


def miss(store: Store, which: int) -> None:
    store.catalog.mark_missing(ids(store, which))


def bring_back(store: Store, which: int) -> None:
    location = made.location(store, folder(store))
    back = [(id_, made.file(folder(store), "", size=which)) for id_ in ids(store, which, "missing")]
    store.catalog.record_scan(location, [], back)


def prune_all(store: Store, _which: int) -> None:
    prune(store)


def merge(store: Store, _which: int) -> None:
    compact(store, active(store), CompactionPolicy(min_segments=1))


def lose(store: Store, which: int) -> None:
    segments = store.vectors.segments(active(store).id)
    if segments:
        store.delete_segment(segments[which % len(segments)].id)


def build(store: Store, _which: int) -> None:
    optimize(store, active(store), policy=SMALL_INDEX)


def drop(store: Store, _which: int) -> None:
    store.delete_candidate_index(active(store))


STEPS: list[Callable[[Store, int], None]] = [
    *(add, edit, copy, fail, miss, bring_back, prune_all, merge, lose, build, drop)
]


@pytest.mark.slow
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 50), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_catching_up_is_reading_everything(
    new_url: Callable[[], str | None],
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[Callable[[Store, int], None], int, bool]],
) -> None:
    home = tmp_path_factory.mktemp("library")
    (home / "photos").mkdir()
    store = Store.create(home / ".mkt", url=new_url())
    made.fill(store, home / "photos", PHOTOS)
    snapshot = opened(store)
    for step, which, looks in steps:
        before = vectors(snapshot)
        with store.writing("test"):
            step(store, which)
        assert vectors(snapshot) == before  # a snapshot is of one time
        if looks:
            snapshot = snapshot.renewed()
            assert vectors(snapshot) == by_rows(store)
    assert vectors(snapshot.renewed()) == by_rows(store)
    assert {problem.what[2:] for problem in verify(store)} <= {
        " photos have no vectors and cannot be found",
        "photos have no vectors and cannot be found",
    }
    store.close()


def test_a_manifest_since_a_revision_has_only_what_changed(filled: Store) -> None:
    before = filled.revision()
    gone = {photo.content for photo in filled.catalog.photos() if photo.id in ids(filled, 4)}
    contents = set(filled.catalog.content_ids_of({sha for sha in gone if sha}).values())
    miss(filled, 4)
    manifest = filled.manifest(active(filled).id, since=before)
    assert manifest.changed is not None and set(manifest.changed.tolist()) == contents
    assert len(contents) == 3 and len(manifest.live) == 0
    later = filled.manifest(active(filled).id, since=manifest.revision)
    assert later.changed is not None and len(later.changed) == 0


def test_a_reader_behind_the_journal_reads_everything(filled: Store) -> None:
    snapshot = opened(filled)
    miss(filled, 0)
    with filled.writing("test"):
        build(filled, 0)  # deletes the changes before it
    assert filled.manifest(active(filled).id, since=snapshot.revision).changed is None
    assert vectors(snapshot.renewed()) == by_rows(filled)


def test_opening_reads_the_row_map_and_what_changed_since(filled: Store) -> None:
    with filled.writing("test"):
        build(filled, 0)
    with reading(filled.catalog.engine) as session:
        assert list(session.scalars(select(ChangeRow.content_id))) == []
    miss(filled, 4)
    edit(filled, 9)
    index = filled.candidate_index(active(filled))
    assert index is not None and index.photos == PHOTOS
    assert index.pq.name.endswith(".pq") and index.row_map.name.endswith(".rows")
    assert vectors(opened(filled)) == by_rows(filled)
    assert len(vectors(opened(filled))) == PHOTOS - 3


def test_a_row_map_that_disagrees_with_the_rows_is_found(filled: Store) -> None:
    with filled.writing("test"):
        build(filled, 0)
    assert verify(filled) == []
    with transaction(filled.catalog.engine) as session:  # a change that the journal lacks
        photo_queries.mark_missing(session, ids(filled, 0)[:1])
    [problem] = verify(filled)
    assert problem.candidate_index and problem.where.endswith(".rows")
    with filled.writing("test"):
        build(filled, 0)
    assert verify(filled) == []


def test_a_candidate_index_is_replaced_with_its_files(filled: Store) -> None:
    with filled.writing("test"):
        build(filled, 0)
        first = filled.candidate_index(active(filled))
        add(filled, 1)
        build(filled, 0)
    second = filled.candidate_index(active(filled))
    assert first is not None and second is not None and first != second
    files = {path.name for path in filled.index_folder.iterdir()}
    assert files == {second.pq.name, second.row_map.name}
    assert second.photos == PHOTOS + 2 and second.recall.points
    filled.delete_candidate_index(active(filled))
    assert filled.candidate_index(active(filled)) is None
    assert list(filled.index_folder.iterdir()) == []


# Encodings


def rebuild(store: Store, root: Path, **changes: object) -> StoredEncoding:
    """Begin a rebuild and encode the first photo."""
    new = store.begin_encoding(made.encoding(m=3, **changes), model="made", rebuild=True)
    photos = [made.photo(root, "p000.jpg", row=0)]
    store.add(made.location(store, root), new, Batch(photos, (), made.vectors(1, 3, m=3)))
    return new


def test_a_rebuild_is_searched_when_every_photo_is_encoded(store: Store, root: Path) -> None:
    old = made.fill(store, root, 2)
    new = rebuild(store, root)
    assert not store.finish_encoding(new)
    assert store.active == old and store.building == new
    assert store.begin_encoding(new.encoding, model="made") == new  # a later run continues it
    second = [made.photo(root, "p001.jpg", row=0)]
    store.add(made.location(store, root), new, Batch(second, (), made.vectors(1, 4, m=3)))
    assert store.finish_encoding(new)
    assert [one.encoding.m for one in store.encodings()] == [3]
    assert verify(store) == [] and len(list(store.folder.iterdir())) == 2


def test_another_rebuild_replaces_an_unfinished_one(store: Store, root: Path) -> None:
    made.fill(store, root, 2)
    unfinished = rebuild(store, root)
    with pytest.raises(CheckpointMismatch):
        store.begin_encoding(made.encoding(m=4), model="made")
    assert store.building == unfinished
    other = store.begin_encoding(made.encoding(m=4), model="made", rebuild=True)
    assert store.building == other and other.encoding.m == 4
    assert len(list(store.folder.iterdir())) == 1


def test_snapshots_of_a_replaced_encoding_ask_to_be_opened_again(store: Store, root: Path) -> None:
    snapshot = LocalSnapshot.open(store, made.fill(store, root, 1))
    assert store.finish_encoding(rebuild(store, root))
    with pytest.raises(LibraryDamaged, match="a rebuild replaced them"):
        snapshot.renewed()


@pytest.mark.parametrize(("checkpoint", "kept"), [("0123456789ab", 1), ("ba9876543210", 0)])
def test_labels_are_remembered_until_a_rebuild_by_another_student(
    store: Store, root: Path, checkpoint: str, kept: int
) -> None:
    made.fill(store, root, 1)
    store.catalog.remember_label_vectors("words", {"dog": b"1234"})
    assert store.finish_encoding(rebuild(store, root, checkpoint=checkpoint))
    assert len(store.catalog.all_label_vectors()) == kept


def test_what_is_known_of_a_model_is_recorded_with_every_encoding_it_made(
    store: Store, root: Path
) -> None:
    stored = made.fill(store, root, 1)
    assert stored.record is None
    image = ImageSpec(32, 48, (0.1, 0.2, 0.3), (1, 1, 1), "crop", 50)
    record = ModelRecord("stamp", "label encoder", image)
    store.record_model("moved", stored.encoding.checkpoint, record)
    store.record_model("other", "ffffffffffff", ModelRecord("other", "other", image))
    found = active(store)
    assert (found.id, found.model, found.record) == (stored.id, "moved", record)
    renamed = store.begin_encoding(stored.encoding, model="renamed")
    assert (renamed.id, renamed.model, renamed.record) == (stored.id, "renamed", None)
    assert active(store) == renamed


# Compaction, pruning, repair


@pytest.fixture
def in_segments(store: Store, root: Path) -> Store:
    """Thirty photos in ten segments."""
    for number in range(10):
        made.fill(store, root, 3, seed=number, name=f"{number}-")
    return store


def test_merged_segments_hold_the_same_vectors(in_segments: Store) -> None:
    before = vectors(opened(in_segments))
    assert len(before) == 30
    assert compact(in_segments, active(in_segments), CompactionPolicy(min_segments=11)) == 0
    assert compact(in_segments, active(in_segments), CompactionPolicy(min_segments=10)) == 10
    assert len(list(in_segments.folder.iterdir())) == 1
    assert vectors(opened(in_segments)) == before
    assert verify(in_segments) == []


def test_pruning_deletes_missing_photos_and_what_only_they_needed(in_segments: Store) -> None:
    gone = [p.id for p in in_segments.catalog.photos() if p.relative[0] in "01"]
    last = [p.id for p in in_segments.catalog.photos() if p.relative == "2-000.jpg"]
    in_segments.catalog.mark_missing([*gone, *last])
    would = prune(in_segments, dry_run=True)
    assert (would.photos, would.tags, would.contents, would.segments) == (7, 0, 7, 2)
    assert len(list(in_segments.folder.iterdir())) == 10 and would.bytes > 0
    assert prune(in_segments) == would
    assert len(list(in_segments.folder.iterdir())) == 8
    before = vectors(opened(in_segments))
    compact(in_segments, active(in_segments), CompactionPolicy(min_segments=1))
    assert vectors(opened(in_segments)) == before and len(before) == 23
    assert verify(in_segments) == []
    assert prune(in_segments) == PruneReport()


def test_a_deleted_segment_leaves_photos_to_encode_again(in_segments: Store) -> None:
    with in_segments.writing("test"):
        build(in_segments, 0)
    [file, *_] = sorted(in_segments.folder.iterdir())
    file.unlink()
    [problem] = verify(in_segments)
    assert problem.segment is not None and problem.where == file.name
    in_segments.delete_segment(problem.segment)
    in_segments.delete_segment(problem.segment)  # nothing more to do
    [problem] = verify(in_segments)
    assert problem.what == "3 photos have no vectors and cannot be found"
    assert in_segments.candidate_index(active(in_segments)) is None
    assert len(list(in_segments.catalog.unencoded_photos([active(in_segments).id]))) == 3
    assert len(vectors(opened(in_segments))) == 27


def test_ids_and_numbers_of_any_size_are_stored(store: Store, root: Path) -> None:
    stored = made.fill(store, root, 2)
    large = made.photo(root, "large.jpg", row=0)
    file = made.file(root, "large.jpg", size=2**41, mtime_ns=2**62)
    photo = NewPhoto(file, large.content, large.facts, 0)
    store.add(made.location(store, root), stored, Batch([photo], (), made.vectors(1, 7)))
    known = store.catalog.known(store.catalog.locate(root), stored.id)["large.jpg"]
    assert (known.size, known.mtime_ns) == (2**41, 2**62)
    assert len(np.unique(store.manifest(stored.id).live[:, 2])) == 3
