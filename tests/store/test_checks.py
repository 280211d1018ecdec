"""`verify` sees every kind of damage; `prune` removes only what is nobody's."""

from pathlib import Path

import pytest
from sqlalchemy import delete, text

from mkt_search.store import checks
from mkt_search.store.compact import compact
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql import tags
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.schema import SegmentRow, VectorRow
from mkt_search.store.store import Store, StoredEncoding
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 3)
    made.fill(store, tmp_path / "photos", 2, seed=1, name="q")
    return store


def segment(store: Store) -> Path:
    return sorted(store.folder.iterdir())[0]


def whats(store: Store) -> list[str]:
    return [problem.what for problem in checks.verify(store)]


def test_a_sound_library_has_no_problems(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    assert checks.verify(store, lambda done, total: seen.append((done, total))) == []
    assert seen == [(1, 2), (2, 2)]


def test_a_missing_segment_is_seen(store: Store) -> None:
    segment(store).unlink()
    assert whats(store) == ["a segment is missing"]


@pytest.mark.parametrize("at", [0, 100, -1])
def test_one_flipped_bit_is_seen(store: Store, at: int) -> None:
    data = bytearray(segment(store).read_bytes())
    data[at] ^= 1
    segment(store).write_bytes(data)
    assert whats(store) == ["a segment's bytes have changed"]


def test_what_a_crash_left_behind_is_no_problem_and_goes_with_the_next_writer(store: Store) -> None:
    stray = store.folder / "stray.safetensors"
    stray.write_bytes(b"?")
    assert whats(store) == []
    with store.writing("test"):
        assert not stray.exists()


def test_rows_that_name_the_vectors_of_other_photos_are_seen(store: Store) -> None:
    with transaction(store.engine) as session:
        session.execute(text("UPDATE vector SET row = 1 - row WHERE row < 2 AND segment_id = 1"))
    assert whats(store) == ["2 rows name vectors that were made of other bytes"]


def test_photos_without_vectors_are_seen(store: Store) -> None:
    with transaction(store.engine) as session:
        session.execute(delete(VectorRow).where(VectorRow.segment_id == 2))
    assert whats(store) == ["2 photos have no vectors and cannot be found"]


def test_a_damaged_database_is_seen(store: Store) -> None:
    with transaction(store.engine) as session:
        session.execute(text("PRAGMA writable_schema=ON"))
    with store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DELETE FROM content WHERE id = 1")
    assert any("names one of content that is gone" in what for what in whats(store))


def test_forgetting_a_damaged_segment_leaves_photos_to_encode_again(store: Store) -> None:
    segment(store).unlink()
    problem = checks.verify(store)[0]
    assert problem.segment is not None
    store.forget_segment(problem.segment)
    assert [w.split(" ", 1)[1] for w in whats(store)] == [
        "photos have no vectors and cannot be found"
    ]


def test_prune_forgets_missing_photos_and_what_only_they_needed(store: Store) -> None:
    with reading(store.engine) as session:
        gone = [r.id for r in photo_queries.photos(session) if r.relative.startswith("q")]
    with transaction(store.engine) as session:
        tags.add_by_hand(session, gone, "holiday")
    store.mark_missing(gone)
    would = checks.prune(store, dry_run=True)
    assert (would.photos, would.tags, would.contents, would.segments) == (2, 2, 2, 1)
    assert len(list(store.folder.iterdir())) == 2
    assert checks.prune(store, dry_run=False) == would
    assert len(list(store.folder.iterdir())) == 1
    assert checks.verify(store) == []
    assert checks.prune(store, dry_run=False) == checks.PruneReport()


def test_a_missing_photo_whose_copy_is_there_leaves_the_vectors(store: Store) -> None:
    root = store.directory.parent / "photos"
    active = store.active
    assert active is not None
    from mkt_search.store.store import Batch

    copy = made.photo(root, "copy.jpg", content=made.sha("q000.jpg"))
    store.add(store.place_of(root), active, Batch([copy]))
    with reading(store.engine) as session:
        gone = [r.id for r in photo_queries.photos(session) if r.relative == "q000.jpg"]
    store.mark_missing(gone)
    assert checks.prune(store, dry_run=False).contents == 0
    assert checks.verify(store) == []


def test_segments_that_are_merged_meanwhile_are_not_damaged(store: Store, monkeypatch) -> None:
    rows = checks._segment_rows

    def merge(store: Store, item: StoredEncoding) -> list[SegmentRow]:
        found = rows(store, item)
        assert compact(store, item, fewest=2) == 2
        return found

    monkeypatch.setattr(checks, "_segment_rows", merge)
    assert whats(store) == []


def test_a_folder_that_a_system_put_among_the_segments_is_left_alone(store: Store) -> None:
    (store.folder / "@eaDir").mkdir()
    with store.writing("test"):
        assert whats(store) == []
    assert (store.folder / "@eaDir").is_dir()
