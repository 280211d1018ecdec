"""A run that is stopped, fails or runs out of disk keeps what it committed; maintenance."""

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import event

from mkt_search import files
from mkt_search.errors import ModelError, StoreError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.progress import INDEXING
from mkt_search.store import checks
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.segments import files as segment_files
from mkt_search.store.store import Store
from mkt_search.types import Encoded
from tests.indexer.indexed import Notes, bring_in, outcomes, photos, vectors
from tests.tiny import paint


def test_a_run_that_is_stopped_keeps_its_batches_and_the_next_continues(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        bring_in(store, encoder, folder, notes=Notes(stop_after=1))
    assert len(photos(store)) == 5 and checks.verify(store) == []
    notes = Notes()
    assert bring_in(store, encoder, folder, notes=notes).indexed == 7
    assert notes.messages == ["resuming: 5 of 12 done"]
    assert outcomes(store) == ["interrupted", "done"]
    assert checks.verify(store) == []


def test_a_run_that_was_stopped_often_stores_the_same_vectors(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path, empty_library: Path
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bring_in(store, encoder, folder, notes=Notes(stop_after=1))
    bring_in(store, encoder, folder)
    other = Store.open(shutil.copytree(empty_library, tmp_path / "undisturbed"))
    bring_in(other, encoder, folder)
    found, expected = vectors(store), vectors(other)
    assert found.keys() == expected.keys()
    for path in expected:
        np.testing.assert_array_equal(found[path], expected[path])
    other.close()


class Broken:
    """A student that fails at its second batch, in one of several ways."""

    def __init__(self, encoder: PhotoEncoder, fault: Exception | float) -> None:
        self.encoder, self.spec, self.fault = encoder, encoder.spec, fault
        self.calls = 0

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        self.calls += 1
        encoded = self.encoder.encode(pixels)
        if self.calls == 1:
            return encoded
        if isinstance(self.fault, Exception):
            raise self.fault
        return Encoded(encoded.global_vectors, encoded.patches * np.float32(self.fault))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            RuntimeError("out of memory"),
            r"failed on 5 photos, the first of them .*: out of memory.*--batch-size",
        ),
        (float("nan"), "NaN or infinity for 5 of 5"),
        (ModelError("no such head"), "no such head"),
    ],
)
def test_a_model_that_fails_stops_the_run_at_once_and_the_first_batch_stays(
    store: Store, encoder: PhotoEncoder, folder: Path, fault: Exception | float, words: str
) -> None:
    broken = Broken(encoder, fault)
    with pytest.raises(ModelError, match=words):
        bring_in(store, broken, folder)
    assert broken.calls == 2
    assert len(photos(store)) == 5 and photos(store, "failed") == {}
    assert outcomes(store) == ["failed"]
    assert bring_in(store, encoder, folder).indexed == 7


WRITES = ("open", "write", "fsync", "replace", "fsync folder")


def fail_with_a_full_disk(monkeypatch: pytest.MonkeyPatch, site: str, *, at: int) -> None:
    """Make the `at`-th call at one write site of the segments fail as on a full disk."""
    calls = 0
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def failing(really: Any, is_it: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            if is_it(*arguments):
                calls += 1
                if calls == at:
                    raise full
            return really(*arguments, **options)

        return call

    def is_folder(handle: int) -> bool:
        return stat.S_ISDIR(os.fstat(handle).st_mode)

    if site == "open":
        monkeypatch.setattr(
            files, "open", failing(open, lambda path, mode="r": "x" in mode), raising=False
        )
    elif site == "write":
        really = segment_files.write_atomically
        monkeypatch.setattr(segment_files, "write_atomically", failing(really, lambda *_: True))
    elif site == "fsync":
        monkeypatch.setattr(os, "fsync", failing(os.fsync, lambda handle: not is_folder(handle)))
    elif site == "fsync folder":
        monkeypatch.setattr(os, "fsync", failing(os.fsync, is_folder))
    else:
        monkeypatch.setattr(os, "replace", failing(os.replace, lambda *_: True))


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("site", WRITES)
def test_a_full_disk_loses_nothing_that_was_committed(
    store: Store,
    encoder: PhotoEncoder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    site: str,
    at: int,
) -> None:
    with monkeypatch.context() as patch:
        fail_with_a_full_disk(patch, site, at=at)
        with pytest.raises(StoreError, match=r"full; what was committed before is safe"):
            bring_in(store, encoder, folder)
    assert len(photos(store)) == 5 * (at - 1)
    assert checks.verify(store) == []
    assert bring_in(store, encoder, folder).indexed == 12 - 5 * (at - 1)
    assert checks.verify(store) == [] and len(vectors(store)) == 12


def test_a_database_that_cannot_grow_loses_nothing_that_was_committed(
    store: Store, encoder: PhotoEncoder, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for number in range(40):
        paint(folder / f"{'long name ' * 20}{number:02}.png", (number, 0, 0), size=(8, 8))
    pages, more = 0, 1 << 20

    def limit(connection: Any, _record: Any, _proxy: Any) -> None:
        nonlocal pages
        pages = pages or connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + more}")

    event.listen(store.catalog.engine, "checkout", limit)
    assert photos(store) == {}
    refused = 0
    for more in range(40):  # noqa: B007  (`limit` reads it)
        try:
            bring_in(store, encoder, folder)
            break
        except StoreError as problem:
            refused += 1
            assert "disk with the database is full" in str(problem)
        assert checks.verify(store) == []
    assert refused > 1 and len(vectors(store)) == 40 and checks.verify(store) == []


QUICK_BUILD = BuildPolicy(min_photos=5)


def test_a_large_library_gets_its_candidate_index_and_again_when_much_is_new(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:

    def known() -> int | None:
        active = store.active
        assert active is not None
        index = store.candidate_index(active)
        return None if index is None else index.photos

    large: dict[str, Any] = {
        "optimize_from": 12,
        "optimize_after": 0.2,
        "candidates": QUICK_BUILD,
    }
    bring_in(store, encoder, folder, optimize_from=13)
    assert known() is None
    notes = Notes()
    bring_in(store, encoder, folder, notes=notes, **large)
    assert known() == 12
    assert notes.messages == ["building the candidate index of 12 photos"]
    assert [(event.step, event.done, event.total) for event in notes.counts] == [
        ("indexing vectors", 12, 12),
        ("measuring recall", 12, 12),
    ]
    for number in range(4):
        paint(folder / f"new{number}.png", (9, 9, 60 * number), size=(40, 40))
        bring_in(store, encoder, folder, **large)
        assert known() == (12 if number < 3 else 16)
    bring_in(store, encoder, folder, optimize_from=0)
    assert known() == 16


@pytest.mark.parametrize("step", [1, 2])
def test_a_run_is_stopped_while_it_builds_the_candidate_index_and_the_next_builds_it(
    store: Store, encoder: PhotoEncoder, folder: Path, step: int
) -> None:
    notes = Notes(stop_after=3 + step)  # three batches, and a step each of the building
    with pytest.raises(KeyboardInterrupt):
        bring_in(store, encoder, folder, notes=notes, optimize_from=12, candidates=QUICK_BUILD)
    names = ["indexing vectors", "measuring recall"]
    assert [event.step for event in notes.counts if event.step != INDEXING] == names[:step]
    assert len(photos(store)) == 12 and not list(store.directory.glob("index/*"))
    again = Notes()
    bring_in(store, encoder, folder, notes=again, optimize_from=12, candidates=QUICK_BUILD)
    assert again.messages == ["building the candidate index of 12 photos"]
    assert len(list(store.index_folder.iterdir())) == 2


def test_copies_of_a_photo_are_no_newer_than_it(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder, optimize_from=12, candidates=QUICK_BUILD)
    for number in range(12):
        copy = folder / "copies" / f"{number}.png"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((folder / "ab"[number % 2] / f"{number:02}.png").read_bytes())
    notes = Notes()
    bring_in(store, encoder, folder, notes=notes, optimize_from=12, candidates=QUICK_BUILD)
    assert len(photos(store)) == 24
    assert notes.messages == []
