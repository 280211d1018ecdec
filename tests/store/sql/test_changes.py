"""The journal: a reader that catches up knows what one that reads everything knows."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mkt_search.errors import LibraryDamaged
from mkt_search.store import checks
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.compact import compact
from mkt_search.store.optimize import optimize
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.records import NewPhoto
from mkt_search.store.segments.files import write_named
from mkt_search.store.snapshot import LocalSnapshot, RenewPolicy
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import changes, encodings
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.schema import ChangeRow, Photo, SegmentRow
from mkt_search.store.store import Batch, Store, StoredEncoding
from tests import made
from tests.command_line import mkt
from tests.store.sql.test_query_plans import plans


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = filled(tmp_path, 30)
    yield store
    store.close()


def filled(home: Path, photos: int) -> Store:
    (home / "photos").mkdir()
    store = Store.create(home / ".mkt")
    made.fill(store, home / "photos", photos)
    return store


def active(store: Store) -> StoredEncoding:
    stored = store.active
    assert stored is not None
    return stored


def root(store: Store) -> Path:
    return store.directory.parent / "photos"


def known(snapshot: LocalSnapshot) -> dict[int, bytes]:
    """Every live vector by the content it belongs to."""
    ids = snapshot.content_ids()
    assert snapshot.content_ids(ids).tolist() == ids.tolist() and (ids >= 0).all()
    return {
        content_id: row.tobytes()
        for content_id, row in zip(ids.tolist(), snapshot.vectors(ids).vectors, strict=True)
    }


def by_rows(store: Store) -> dict[int, bytes]:
    """The same from the rows of the database alone."""
    index = LocalSnapshot.open(store, active(store))
    live = store.live_vectors(active(store).id)
    places = {(segment, row): content for segment, row, content in live.tolist()}
    assert {tuple(place[:2]): place[2] for place in index.vector_rows().tolist()} == places
    return known(index)


# What a writer does; each takes the library and a number that says to which photos


def ids(store: Store, which: int, state: str = "indexed") -> list[int]:
    """Up to three photos."""
    with reading(store.engine) as session:
        found = [photo.id for photo in photo_queries.photos(session, state=state)]
    return [found[(which + i) % len(found)] for i in range(min(3, len(found)))]


def add(store: Store, which: int) -> None:
    photos = [made.photo(root(store), f"n{which}-{i}.jpg", row=i) for i in range(2)]
    commit(store, photos, which)


def edit(store: Store, which: int) -> None:
    paths = [f"p{(which + i) % 30:03}.jpg" for i in range(2)]
    photos = [
        made.photo(root(store), path, row=i, content=made.sha(f"{path}{which}"))
        for i, path in enumerate(paths)
    ]
    commit(store, photos, which)


def copy(store: Store, which: int) -> None:
    """A file gets the bytes of another one that the library has."""
    source = made.sha(f"p{which % 30:03}.jpg")
    if source in store.stored_contents([source], active(store)):
        commit(store, [made.photo(root(store), f"p{which * 7 % 30:03}.jpg", content=source)], 0)


def fail(store: Store, which: int) -> None:
    failed = [made.failed(root(store), f"p{which % 30:03}.jpg")]
    store.add(store.place_of(root(store)), active(store), Batch([], failed))


def commit(store: Store, photos: list[NewPhoto], seed: int) -> None:
    known_already = store.stored_contents([photo.content for photo in photos], active(store))
    if any(photo.row is not None and photo.content in known_already for photo in photos):
        return  # the indexer would not encode them again
    rows = sum(photo.row is not None for photo in photos)
    new = made.vectors(rows, seed) if rows else None
    store.add(store.place_of(root(store)), active(store), Batch(photos, (), new))


def miss(store: Store, which: int) -> None:
    store.mark_missing(ids(store, which))


def return_(store: Store, which: int) -> None:
    back = ids(store, which, "missing")
    store.touch([(photo, made.file(root(store), "", size=which)) for photo in back])


def prune(store: Store, _which: int) -> None:
    checks.prune(store, dry_run=False)


def merge(store: Store, _which: int) -> None:
    compact(store, active(store), fewest=1)


def lose(store: Store, which: int) -> None:
    with reading(store.engine) as session:
        segments = list(session.scalars(select(SegmentRow.id).order_by(SegmentRow.id)))
    if segments:
        store.forget_segment(segments[which % len(segments)])


def build(store: Store, _which: int) -> None:
    policy = BuildPolicy(min_photos=20, calibration_labels=8, calibration_pairs=2)
    optimize(store, active(store), policy=policy)


def drop(store: Store, _which: int) -> None:
    store.drop_generation(active(store))


STEPS: list[Callable[[Store, int], None]] = [
    *(add, edit, copy, fail, miss, return_, prune, merge, lose, build, drop)
]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 40), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_catching_up_is_knowing_everything(
    steps: list[tuple[Callable[[Store, int], None], int, bool]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = filled(tmp_path_factory.mktemp("library"), 40)
    index = LocalSnapshot.open(store, active(store), policy=RenewPolicy(max_stale_share=0.99))
    for step, which, looks in steps:
        before = known(index)
        with store.writing("test"):
            step(store, which)
        assert known(index) == before  # an index is of one moment
        if looks:
            index = index.renewed()
            assert known(index) == by_rows(store)
    assert known(index.renewed()) == by_rows(store)
    store.close()


def test_a_reader_is_told_of_nothing_but_what_changed(store: Store) -> None:
    before = store.revision()
    with reading(store.engine) as session:
        gone = photo_queries.contents_of(session, ids(store, 4))
    miss(store, 4)
    moment = store.manifest(active(store).id, since=before)
    assert moment.changed is not None and set(moment.changed.tolist()) == gone
    assert len(gone) == 3 and len(moment.live) == 0
    later = store.manifest(active(store).id, since=moment.revision)
    assert later.changed is not None and len(later.changed) == 0


def test_a_reader_behind_the_journal_reads_everything(store: Store) -> None:
    index = LocalSnapshot.open(store, active(store))
    miss(store, 0)
    with store.writing("test"):
        with reading(store.engine) as session:
            now = changes.revision(session)
        with transaction(store.engine) as session:
            changes.forget(session, now)
    assert store.manifest(active(store).id, since=index.revision).changed is None
    assert known(index.renewed()) == by_rows(store)


def test_an_index_that_nothing_happened_to_is_the_same(store: Store) -> None:
    index = LocalSnapshot.open(store, active(store))
    assert index.renewed() is index


def test_a_renewed_snapshot_shares_the_scan_and_the_candidate_index(tmp_path: Path) -> None:
    store = filled(tmp_path, 300)
    with store.writing("test"):
        build(store, 0)
    snapshot = LocalSnapshot.open(store, active(store), policy=RenewPolicy(max_stale_share=0.9))
    snapshot.scan(np.ones(made.DIM, np.float32), vectors=5)
    index = snapshot.pq_index
    assert index is not None
    add(store, 1)
    later = snapshot.renewed()
    assert later.pq_index is index
    assert (snapshot.facts.photos_to_scan, later.facts.photos_to_scan) == (0, 2)
    with store.writing("test"):
        build(store, 0)
    assert later.renewed().pq_index is not index
    store.close()


def test_opening_reads_from_the_database_only_what_is_newer_than_the_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, 300)
    with store.writing("test"):
        build(store, 0)
    expected = by_rows(store)
    with reading(store.engine) as session:
        assert list(session.scalars(select(ChangeRow.content_id))) == []  # none is older
    with monkeypatch.context() as patch:
        patch.delattr(encodings, "live_vectors")
        assert known(LocalSnapshot.open(store, active(store))) == expected
        miss(store, 4)
        edit(store, 9)
        index = LocalSnapshot.open(store, active(store))
    assert known(index) == by_rows(store)
    assert len(known(index)) == 297
    store.close()


def test_places_that_are_not_those_of_the_rows_are_found_and_made_anew(tmp_path: Path) -> None:
    store = filled(tmp_path, 300)
    with store.writing("test"):
        build(store, 0)
    assert checks.verify(store) == []
    with transaction(store.engine) as session:  # a change that the journal was not told
        gone = select(Photo.id).order_by(Photo.id).limit(1)
        photo_queries.mark_missing(session, list(session.scalars(gone)))
    [problem] = checks.verify(store)
    assert problem.generation
    with store.writing("test"):
        build(store, 0)
    assert checks.verify(store) == []
    assert len(known(LocalSnapshot.open(store, active(store)))) == 299
    store.close()


@pytest.mark.parametrize("harm", ["missing", "short", "flipped"])
def test_places_that_are_damaged_are_told_and_the_database_is_read(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path, 300)
    with store.writing("test"):
        build(store, 0)
    expected = by_rows(store)
    [file] = store.index_folder.glob(f"*{generations.PLACES}")
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.unlink()
    if harm != "missing":
        file.write_bytes(data[:-8] if harm == "short" else data)
    with caplog.at_level(logging.WARNING):
        assert known(LocalSnapshot.open(store, active(store))) == expected
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"The list of vectors {file.name}") and "`mkt repair`" in said
    [problem] = checks.verify(store)
    assert problem.generation and problem.where == file.name
    assert "has been rebuilt" in mkt("repair", "--library", tmp_path).stderr
    assert checks.verify(store) == []
    store.close()


def test_files_of_another_version_of_the_program_are_told(tmp_path: Path) -> None:
    data = np.arange(300).tobytes()  # numbers without a header, as places once were
    written = write_named(tmp_path, data, digest_of=generations.digest_of)
    generation = generations.CandidateIndex(written, written, 100, 1, RecallCurve({}))
    told = r"is of another version of this program\. .*`mkt optimize` makes it anew\."
    with pytest.raises(LibraryDamaged, match=told):
        generations.load_places(tmp_path, generation)
    with pytest.raises(LibraryDamaged, match=told):
        generations.load_pq_index(tmp_path, generation, made.encoding())


def test_rows_that_do_not_fit_their_segments_are_told(store: Store) -> None:
    moment = store.manifest(active(store).id)
    segment = LocalSnapshot.open(store, active(store)).reader.segments[0]
    for wrong in ([1, 30, 1], [2, 0, 1]):
        bad = type(moment)(moment.revision, moment.files, np.array([wrong]), None)
        with pytest.raises(LibraryDamaged, match="Run `mkt"):
            LocalSnapshot(store, active(store), bad, (segment,), {1: 0})


def test_what_changed_is_looked_up_without_a_look_at_everything(store: Store) -> None:
    steps = plans(store, lambda s: encodings.live_vectors_of_changed(s, 1, 0))
    assert "ix_change_revision" in steps
    assert "(encoding_id=? AND content_id=?)" in steps
    assert "SCAN" not in steps
    assert "SCAN" not in plans(store, lambda s: changes.changed(s, 0))
