"""`verify` finds every kind of damage."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import delete, text

from mkt_search.progress import Progress
from mkt_search.store import checks
from mkt_search.store.ann.index_files import load_row_map
from mkt_search.store.checks import verify
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.manifest import CandidateIndex
from mkt_search.store.records import Batch
from mkt_search.store.sql.database import transaction
from mkt_search.store.sql.schema import VectorRow
from mkt_search.store.store import Store
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
    return [problem.what for problem in verify(store)]


def test_a_sound_library_has_no_problems(store: Store) -> None:
    events: list[Progress] = []
    assert verify(store, events.append) == []
    assert [(event.done, event.total) for event in events] == [(1, 2), (2, 2)]


def test_a_missing_segment_is_found(store: Store) -> None:
    segment(store).unlink()
    [problem] = verify(store)
    assert problem.what == "a segment is missing"
    assert "mkt repair" in problem.fix and problem.segment is not None


@pytest.mark.parametrize("at", [0, 100, -1])
def test_one_flipped_bit_is_found(store: Store, at: int) -> None:
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


def test_rows_that_name_the_vectors_of_other_photos_are_found(store: Store) -> None:
    with transaction(store.catalog.engine) as session:
        session.execute(text("UPDATE vector SET row = 1 - row WHERE row < 2 AND segment_id = 1"))
    assert whats(store) == ["2 rows name vectors that were made of other bytes"]


def test_photos_without_vectors_are_found(store: Store) -> None:
    with transaction(store.catalog.engine) as session:
        session.execute(delete(VectorRow).where(VectorRow.segment_id == 2))
    assert whats(store) == ["2 photos have no vectors and cannot be found"]


def test_a_damaged_database_is_found(store: Store) -> None:
    with store.catalog.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("DELETE FROM content WHERE id = 1")
    assert any("names one of content that is gone" in what for what in whats(store))


def test_a_segment_that_is_merged_meanwhile_is_no_problem(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = store.vectors.segments

    def then_merge(encoding_id: int) -> object:
        monkeypatch.undo()
        found = segments(encoding_id)
        active = store.active
        assert active is not None
        assert compact(store, active, CompactionPolicy(min_segments=2)) == 2
        return found

    monkeypatch.setattr(store.vectors, "segments", then_merge)
    assert whats(store) == []


def test_a_rebuild_that_ends_meanwhile_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made.optimized(tmp_path, 600)

    def then_rebuild(folder: Path, index: CandidateIndex) -> object:
        monkeypatch.undo()
        found = load_row_map(folder, index)
        photos = [made.photo(tmp_path / "photos", f"p{i:03}.jpg", row=i) for i in range(600)]
        with store.writing("test"):
            stored = store.begin_encoding(made.encoding(m=3), model="made", rebuild=True)
            batch = Batch(photos, (), made.vectors(600, m=3))
            store.add(made.location(store, tmp_path / "photos"), stored, batch)
            assert store.finish_encoding(stored)
        return found

    monkeypatch.setattr(checks, "load_row_map", then_rebuild)
    assert whats(store) == []


def test_a_folder_among_the_segments_is_left_alone(store: Store) -> None:
    (store.folder / "@eaDir").mkdir()  # some systems make one in every folder
    with store.writing("test"):
        assert whats(store) == []
    assert (store.folder / "@eaDir").is_dir()


def test_a_folder_in_the_place_of_a_segment_is_to_be_moved_away(store: Store) -> None:
    path = segment(store)
    path.unlink()
    path.mkdir()
    [problem] = verify(store)
    assert problem.what == "a folder is in the place of a segment"
    assert "move the folder away" in problem.fix and not problem.is_repairable


def test_two_segments_that_were_exchanged_are_found(store: Store) -> None:
    one, other = sorted(store.folder.iterdir())
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    assert whats(store) == 2 * ["a segment's bytes have changed"]


def change(store: Store, statement: str) -> None:
    """Change the database behind the program."""
    other = sqlite3.connect(store.directory / "mkt.db")
    other.execute(statement)
    other.commit()
    other.close()


def test_a_changed_label_vector_is_found_and_can_be_made_again(store: Store) -> None:
    store.catalog.remember_label_vectors("encoder", {"dog": bytes(8)})
    change(store, "UPDATE label_vector SET vector = zeroblob(12)")
    [problem] = verify(store)
    assert problem.what == "rows of label_vector that have changed: 1" and problem.is_repairable


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE photo SET path = 'elsewhere.jpg' WHERE id = 1",
        "UPDATE run SET summary = '[]'",
        "UPDATE encoding SET settings = replace(settings, 'cosine', 'Cosine')",
    ],
)
def test_rows_that_cannot_be_made_again_need_a_backup(store: Store, statement: str) -> None:
    with store.run("index", {}):
        pass
    change(store, statement)
    problems = verify(store)
    assert problems and not any(problem.is_repairable for problem in problems)
    assert all("from a backup" in problem.fix for problem in problems)


def test_bytes_of_the_header_that_the_database_ignores_are_found(store: Store) -> None:
    database = store.directory / "mkt.db"
    store.close()
    data = bytearray(database.read_bytes())
    data[80] ^= 1
    database.write_bytes(data)
    again = Store.open(store.directory)
    assert whats(again) == ["the first 100 bytes of the database have changed"]


def test_another_process_leaves_the_log_of_a_library_that_was_verified(store: Store) -> None:
    log = store.directory / "mkt.db-wal"
    assert log.exists() and whats(store) == []
    read = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM photo')"
    subprocess.run([sys.executable, "-c", read, store.directory / "mkt.db"], check=True)
    assert log.exists()
