"""`repair` encodes the photos of missing and damaged segments again, and nothing else."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.pipeline import IndexPolicy
from indexer.repair import repair
from mkt_search.errors import LibraryDamaged, ModelError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.store import checks
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from mkt_search.types import RepairSummary
from tests.indexer.indexed import Notes, bring_in, outcomes, photos, vectors
from tests.tiny import paint


@pytest.fixture
def indexed(store: Store, encoder: PhotoEncoder, folder: Path) -> Iterator[Store]:
    """A library of twelve photos in three segments."""
    bring_in(store, encoder, folder)
    yield store


def repaired(store: Store, encoder: PhotoEncoder, notes: Notes | None = None) -> RepairSummary:
    """Repair in batches of two."""
    policy = IndexPolicy(batch_size=2, workers=1)
    return repair(store, lambda stored: encoder, policy=policy, progress=notes or Notes())


def segments(store: Store) -> list[Path]:
    active = store.active
    assert active is not None
    return [store.folder / file for file in store.manifest(active.id).files.values()]


def lose(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [lose, cut, flip])
def test_photos_of_a_damaged_segment_are_encoded_again(
    indexed: Store, encoder: PhotoEncoder, harm: Any
) -> None:
    before, rows = vectors(indexed), photos(indexed)
    harm(segments(indexed)[1])
    assert checks.verify(indexed) != []
    done = repaired(indexed, encoder)
    assert (done.segments, done.encoded, done.failed) == (1, 5, 0)
    assert checks.verify(indexed) == []
    after = vectors(indexed)
    for path in before:  # other batches than the first time: equal but for rounding
        np.testing.assert_allclose(after[path], before[path], atol=2e-3)
    assert photos(indexed) == rows
    assert outcomes(indexed) == ["done", "done"]


def test_all_segments_can_be_lost(indexed: Store, encoder: PhotoEncoder) -> None:
    for path in segments(indexed):
        lose(path)
    assert repaired(indexed, encoder).encoded == 12
    assert checks.verify(indexed) == [] and len(vectors(indexed)) == 12


def test_a_sound_library_needs_no_student(indexed: Store) -> None:
    def refuse(stored: StoredEncoding) -> PhotoEncoder:
        raise AssertionError("the student was built for nothing")

    done = repair(indexed, refuse)
    assert (done.segments, done.encoded) == (0, 0)


def test_photos_that_changed_failed_or_vanished_meanwhile_are_recorded(
    indexed: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    first = segments(indexed)[0]  # a/00, a/02, a/04, a/06, a/08
    (folder / "a" / "00.png").unlink()
    (folder / "a" / "02.png").write_bytes(b"scribble")
    paint(folder / "a" / "04.png", "magenta", size=(64, 64))
    lose(first)
    notes = Notes()
    done = repaired(indexed, encoder, notes)
    assert (done.encoded, done.failed, done.missing, done.away) == (3, 1, 1, 0)
    assert list(photos(indexed, "missing")) == ["a/00.png"]
    assert list(photos(indexed, "failed")) == ["a/02.png"]
    assert str(folder / "a" / "02.png") in notes.messages[0]
    assert checks.verify(indexed) == [] and len(vectors(indexed)) == 10
    again = bring_in(indexed, encoder, folder)
    assert (again.indexed, again.unchanged) == (0, 10)


def test_photos_on_a_disk_that_is_not_there_wait_for_it(
    indexed: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    lose(segments(indexed)[0])
    folder.rename(folder.parent / "unplugged")
    done = repaired(indexed, encoder)
    assert (done.encoded, done.missing, done.away) == (0, 0, 5)
    (folder.parent / "unplugged").rename(folder)
    assert repaired(indexed, encoder).encoded == 5
    assert checks.verify(indexed) == []


def test_a_repair_that_is_stopped_goes_on(indexed: Store, encoder: PhotoEncoder) -> None:
    lose(segments(indexed)[0])
    with pytest.raises(KeyboardInterrupt):
        repaired(indexed, encoder, Notes(stop_after=1))
    assert outcomes(indexed) == ["done", "interrupted"]
    assert repaired(indexed, encoder).encoded == 3
    assert checks.verify(indexed) == []


def test_an_empty_library_is_sound(store: Store) -> None:
    def refuse(stored: StoredEncoding) -> PhotoEncoder:
        raise AssertionError("the student was built for nothing")

    assert repair(store, refuse).encoded == 0


def test_without_its_student_a_damaged_library_stays_as_it_is(indexed: Store) -> None:
    def refuse(stored: StoredEncoding) -> PhotoEncoder:
        raise ModelError("the checkpoint is gone")

    cut(segments(indexed)[0])
    with pytest.raises(ModelError):
        repair(indexed, refuse)
    active = indexed.active
    assert active is not None and len(indexed.manifest(active.id).live) == 12


def change(store: Store, *statements: str) -> None:
    """Change the database behind the program."""
    other = sqlite3.connect(store.directory / "mkt.db")
    for statement in statements:
        other.execute(statement)
    other.commit()
    other.close()


DAMAGED_ROWS = {
    "UPDATE segment SET sha256 = zeroblob(32) WHERE id = 1": 5,
    "UPDATE vector SET row = 1 - row WHERE row < 2 AND segment_id = 1": 2,
    "UPDATE vector SET segment_id = 99 WHERE row < 2 AND segment_id = 1": 2,
    "UPDATE change SET revision = 99": 0,
}


@pytest.mark.parametrize("damage", DAMAGED_ROWS)
def test_damaged_rows_are_made_again(indexed: Store, encoder: PhotoEncoder, damage: str) -> None:
    change(indexed, damage)
    assert checks.verify(indexed) != []
    done = repaired(indexed, encoder)
    assert done.rows and done.encoded >= DAMAGED_ROWS[damage] and not done.unsolved
    assert checks.verify(indexed) == [] and len(vectors(indexed)) == 12


def test_what_needs_a_backup_is_counted(indexed: Store, encoder: PhotoEncoder) -> None:
    change(indexed, "UPDATE photo SET path = 'elsewhere.png' WHERE id = 1")
    assert repaired(indexed, encoder).unsolved == 1


def test_without_its_folder_of_segments_a_library_is_made_again(
    indexed: Store, encoder: PhotoEncoder
) -> None:
    shutil.rmtree(indexed.folder)
    with pytest.raises(LibraryDamaged, match="mkt repair"):
        vectors(indexed)
    assert repaired(indexed, encoder).encoded == 12
    assert checks.verify(indexed) == []
