"""`index` on painted photos with the tiny student: what is stored, kept, recognised and refused."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import event

from indexer.index import Options, index, preview
from indexer.pooling.pool import pool
from indexer.progress import Progress
from mkt_search import files
from mkt_search.errors import CheckpointMismatch, ConfigError, LibraryLocked, ModelError, StoreError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos.decode import decode, to_pixels
from mkt_search.store import checks
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.optimize import optimize
from mkt_search.store.records import PhotoRecord
from mkt_search.store.segments import files as segment_files
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import Encoded, Encoding, ImageSpec, Pooling, Summary
from tests.tiny import GRID, SIDE, paint, tiny_student

ENCODING = Encoding("tiny", 16, GRID, "cover", 4, 3, "int8")
SPEC = ImageSpec(SIDE, SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
COLOURS = [(20 * n, 255 - 20 * n, 90) for n in range(12)]


class Notes(Progress):
    """Keeps what was said, and stops a run after some batches if asked to."""

    def __init__(self, *, stop_after: int = 10**9) -> None:
        super().__init__()
        self.said: list[str] = []
        self.steps: list[tuple[str, int, int]] = []
        self.batches = 0
        self.stop_after = stop_after

    def advance(self, done: int, *, failed: int) -> None:
        super().advance(done, failed=failed)
        self.batches += 1

    def step(self, name: str, done: int, total: int) -> None:
        self.steps.append((name, done, total))
        self.batches += 1

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def should_stop(self) -> bool:
        return self.batches >= self.stop_after


@pytest.fixture(scope="module")
def encoder() -> PhotoEncoder:
    return PhotoEncoder(tiny_student(), SPEC, device="cpu", dtype="float32")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "library" / ".mkt")
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, colour in enumerate(COLOURS):
        paint(folder / f"{'ab'[number % 2]}" / f"{number:02}.png", colour, size=(40, 40))
    return folder


def bring_in(
    store: Store,
    encoder: Any,
    *folders: Path,
    encoding: Encoding = ENCODING,
    notes: Notes | None = None,
    rebuild: bool = False,
    **options: Any,
) -> Summary:
    notes = notes or Notes()
    return index(
        store,
        encoder,
        folders,
        encoding=encoding,
        model="the tiny one",
        rebuild=rebuild,
        options=Options(**{"batch_size": 5, "workers": 2, **options}),
        progress=notes,
        should_stop=notes.should_stop,
    )


def photos(store: Store, state: str | None = "indexed") -> dict[str, PhotoRecord]:
    return {photo.relative: photo for photo in store.catalog.photos(state=state)}


def vectors(store: Store) -> dict[str, NDArray[np.float32]]:
    """The stored vectors (1 + m, D) of every photo that can be found, by path."""
    active = store.active
    assert active is not None
    found = LocalSnapshot.open(store, active)
    ids = store.catalog.content_ids_of({photo.content or "" for photo in photos(store).values()})
    return {
        path: found.vectors(np.array([ids[photo.content or ""]])).vectors[0]
        for path, photo in photos(store).items()
    }


def outcomes(store: Store) -> list[str]:
    return [run.outcome for run in store.catalog.runs()]


def test_every_photo_is_stored_with_its_hash_facts_and_vectors(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.failed) == (12, 0)
    assert checks.verify(store) == []
    stored = vectors(store)
    assert len(stored) == 12
    for path, photo in photos(store).items():
        data = (folder / path).read_bytes()
        assert photo.content == hashlib.sha256(data).hexdigest()
        assert photo.facts is not None and photo.facts.width == 40
        pixels = to_pixels(decode(data).image, SPEC)
        expected = pool(encoder.encode(pixels[None]), ENCODING)
        rows = np.concatenate([expected.global_vectors[:, None], expected.local_vectors], axis=1)[0]
        np.testing.assert_allclose(stored[path], rows, atol=3e-3)  # int8: 0.5 / 254


def test_a_second_run_reads_nothing(
    store: Store, encoder: PhotoEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(store, encoder, folder)
    monkeypatch.setattr("indexer.load.read", None)
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged) == (0, 12)


def test_new_and_changed_photos_are_taken_in(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before = vectors(store)
    paint(folder / "new.png", "red", size=(40, 40))
    paint(folder / "a" / "00.png", "magenta", size=(64, 48))
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged, summary.missing) == (2, 11, 0)
    after = vectors(store)
    changed = [path for path in before if not np.array_equal(before[path], after[path])]
    assert changed == ["a/00.png"]
    facts = photos(store)["a/00.png"].facts
    assert facts is not None and (facts.width, facts.height) == (64, 48)


def test_a_photo_that_was_only_touched_is_not_encoded_again(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before = photos(store)
    os.utime(folder / "a" / "00.png", (1, 1))
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged) == (0, 12)
    assert photos(store) == before
    assert bring_in(store, encoder, folder).unchanged == 12


def test_a_renamed_photo_keeps_its_row_and_its_vectors(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before, old = photos(store)["a/00.png"], vectors(store)
    (folder / "moved" / "deep").mkdir(parents=True)
    (folder / "a" / "00.png").rename(folder / "moved" / "deep" / "best.png")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.renamed, summary.missing) == (1, 1, 0)
    after = photos(store)["moved/deep/best.png"]
    assert after.id == before.id and after.content == before.content
    assert photos(store, "missing") == {}
    np.testing.assert_array_equal(vectors(store)["moved/deep/best.png"], old["a/00.png"])


def test_photos_of_the_same_bytes_are_renamed_by_their_names(
    store: Store, encoder: PhotoEncoder, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for name in ("x.png", "y.png", "z.png"):
        paint(folder / "old" / name, "red")
    bring_in(store, encoder, folder)
    ids = {path: photo.id for path, photo in photos(store).items()}
    (folder / "old").rename(folder / "a-new")
    (folder / "a-new" / "z.png").rename(folder / "a-new" / "first.png")
    assert bring_in(store, encoder, folder).renamed == 3
    after = {path: photo.id for path, photo in photos(store).items()}
    assert sorted(after.values()) == sorted(ids.values())
    assert after["a-new/first.png"] == ids["old/z.png"]
    assert after["a-new/x.png"] == ids["old/x.png"] and after["a-new/y.png"] == ids["old/y.png"]


def test_a_photo_moved_to_another_folder_of_the_library_is_renamed(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    paint(other / "x.png", "red")
    bring_in(store, encoder, folder, other)
    before = photos(store)["a/00.png"].id
    (folder / "a" / "00.png").rename(other / "00.png")
    assert bring_in(store, encoder, other, folder).renamed == 1
    assert photos(store)["00.png"].id == before


def test_copies_share_one_set_of_vectors(store: Store, encoder: PhotoEncoder, folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "b" / "01.png").read_bytes())
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.duplicates) == (13, 1)
    active = store.active
    assert active is not None and len(store.live_vectors(active.id)) == 12
    (folder / "another.png").write_bytes((folder / "b" / "01.png").read_bytes())
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.duplicates) == (1, 1)
    assert photos(store)["another.png"].facts == photos(store)["b/01.png"].facts
    assert checks.verify(store) == []


def test_a_vanished_photo_is_missing_until_it_returns(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    hidden = folder.parent / "elsewhere.png"
    (folder / "a" / "00.png").rename(hidden)
    summary = bring_in(store, encoder, folder)
    assert (summary.missing, summary.indexed, summary.unchanged) == (1, 0, 11)
    assert list(photos(store, "missing")) == ["a/00.png"]
    assert bring_in(store, encoder, folder).missing == 0  # said once
    hidden.rename(folder / "a" / "00.png")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged) == (0, 12)
    assert photos(store, "missing") == {} and len(vectors(store)) == 12


def test_photos_of_a_folder_that_cannot_be_read_now_are_not_missing(
    store: Store, encoder: PhotoEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(store, encoder, folder)
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("/a"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    notes = Notes()
    summary = bring_in(store, encoder, folder, notes=notes)
    assert summary.missing == 0 and len(photos(store)) == 12
    assert notes.said == [f"left out {folder / 'a'}: permission denied"]


def test_photos_found_with_hidden_are_not_missing_without(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    paint(folder / ".private" / "x.png", "red")
    assert bring_in(store, encoder, folder, hidden=True).indexed == 13
    summary = bring_in(store, encoder, folder)
    assert summary.missing == 0 and summary.skipped["hidden folder"] == 1


def test_a_bad_photo_is_a_row_with_its_reason_and_not_tried_again_until_asked(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bad = folder / "a" / "bad.png"
    bad.write_bytes(b"")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.failed) == (12, 1)
    assert summary.reasons == {"empty file (0 bytes)": 1}
    assert photos(store, "failed")["a/bad.png"].error == "empty file (0 bytes)"
    summary = bring_in(store, encoder, folder)
    assert summary.failed == 0 and summary.skipped["failed before"] == 1
    assert bring_in(store, encoder, folder, retry=True).failed == 1
    paint(bad, "red")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.failed) == (1, 0)
    assert photos(store, "failed") == {}


def test_a_photo_that_can_no_longer_be_read_is_failed(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    (folder / "a" / "00.png").write_bytes(b"scribble")
    assert bring_in(store, encoder, folder).failed == 1
    assert len(vectors(store)) == 11
    assert checks.verify(store) == []


def test_part_of_a_folder_can_be_indexed_and_belongs_to_the_same_root(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    paint(folder / "a" / "new.png", "red")
    paint(folder / "b" / "new.png", "white")
    (folder / "b" / "01.png").unlink()
    summary = bring_in(store, encoder, folder / "a")
    assert (summary.indexed, summary.unchanged, summary.missing) == (1, 6, 0)
    summary = bring_in(store, encoder, folder / "b" / "new.png")
    assert (summary.indexed, summary.missing) == (1, 0)
    assert {photo.root for photo in photos(store).values()} == {folder}


def test_the_folder_around_takes_over_what_was_indexed_below_it(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder / "a")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged) == (6, 6)
    assert set(photos(store)) == {f"{'ab'[n % 2]}/{n:02}.png" for n in range(12)}


def test_the_folder_around_is_known_even_if_nothing_in_it_is_new(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder / "a", folder / "b")
    assert bring_in(store, encoder, folder).unchanged == 12
    paint(folder / "c" / "later.png", "white")
    assert bring_in(store, encoder).indexed == 1


def test_folders_inside_one_another_are_walked_once(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    summary = bring_in(store, encoder, folder / "a", folder, folder / "b" / ".." / "b", folder)
    assert (summary.indexed, summary.duplicates) == (12, 0)


def test_without_a_folder_all_of_the_library_is_brought_up_to_date(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "other" / "x.png", "red")
    bring_in(store, encoder, folder, tmp_path / "other")
    paint(folder / "new.png", "white")
    (tmp_path / "other").rename(tmp_path / "unplugged")
    notes = Notes()
    summary = bring_in(store, encoder, notes=notes)
    assert (summary.indexed, summary.unchanged, summary.missing) == (1, 12, 0)
    assert notes.said == [f"left out {tmp_path / 'other'}: it is not there now"]


def test_an_empty_folder_where_photos_were_is_taken_for_a_missing_disk(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    folder.rename(folder.parent / "unplugged")
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"is empty, but the library knows 12 photos"):
        bring_in(store, encoder, folder)
    assert len(photos(store)) == 12


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_photos_is_refused_and_leaves_no_trace(
    store: Store, encoder: PhotoEncoder, tmp_path: Path, make: bool
) -> None:
    if make:
        (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no photos under .*\.jpg .*--hidden|there is no folder"):
        bring_in(store, encoder, tmp_path / "empty")
    assert store.catalog.root_folders() == []
    assert store.active is None


def test_a_library_without_folders_asks_for_one(store: Store, encoder: PhotoEncoder) -> None:
    with pytest.raises(ConfigError, match="name a folder"):
        bring_in(store, encoder)


def test_the_library_inside_a_folder_is_left_out(
    tmp_path: Path, encoder: PhotoEncoder, folder: Path
) -> None:
    store = Store.create(folder / ".mkt")
    paint(folder / ".mkt" / "thumbs" / "x.png", "red")
    assert bring_in(store, encoder, folder, hidden=True).indexed == 12
    store.close()


def test_a_run_that_is_stopped_keeps_its_batches_and_is_gone_on_with(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        bring_in(store, encoder, folder, notes=Notes(stop_after=1))
    assert len(photos(store)) == 5 and checks.verify(store) == []
    notes = Notes()
    assert bring_in(store, encoder, folder, notes=notes).indexed == 7
    assert notes.said == ["resuming: 5 of 12 done"]
    assert outcomes(store) == ["interrupted", "done"]
    assert checks.verify(store) == []


def test_the_same_vectors_come_of_a_run_that_was_stopped_often(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            bring_in(store, encoder, folder, notes=Notes(stop_after=1))
    bring_in(store, encoder, folder)
    other = Store.create(tmp_path / "undisturbed")
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
        (RuntimeError("out of memory"), r"failed on 5 photos from .*: out of memory.*--batch-size"),
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


def test_a_second_indexer_is_refused_and_the_first_untouched(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    second = Store.open(store.directory)
    refused: list[str] = []

    class Meanwhile(Notes):
        def advance(self, done: int, *, failed: int) -> None:
            super().advance(done, failed=failed)
            with pytest.raises(LibraryLocked) as refusal:
                bring_in(second, encoder, folder)
            refused.append(str(refusal.value))

    assert bring_in(store, encoder, folder, notes=Meanwhile()).indexed == 12
    assert len(refused) == 3 and all(f"pid {os.getpid()}" in words for words in refused)
    assert outcomes(store) == ["done"] and checks.verify(store) == []
    second.close()


def test_other_settings_are_refused_without_rebuild(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before = vectors(store)
    for changed in (replace(ENCODING, m=5), replace(ENCODING, checkpoint="other")):
        with pytest.raises(CheckpointMismatch, match="--rebuild"):
            bring_in(store, encoder, folder, encoding=changed)
        with pytest.raises(CheckpointMismatch, match="--rebuild"):
            preview(store, [folder], encoding=changed)
    assert vectors(store).keys() == before.keys()


def test_a_rebuild_is_searched_only_when_it_is_whole(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "z-other" / "x.png", "red")
    (folder / "copy.png").write_bytes((folder / "b" / "01.png").read_bytes())
    bring_in(store, encoder, folder, tmp_path / "z-other")
    changed = replace(ENCODING, m=5, precision="int8")
    with pytest.raises(KeyboardInterrupt):
        bring_in(store, encoder, encoding=changed, rebuild=True, notes=Notes(stop_after=1))
    assert store.active is not None and store.active.encoding == ENCODING
    notes = Notes()
    bring_in(store, encoder, folder, encoding=changed, rebuild=True, notes=notes)
    assert store.active.encoding == ENCODING
    assert notes.said[0].startswith("resuming: 6 of 13 done")
    assert "not finished: 1 photos of other folders" in notes.said[1]
    assert len(vectors(store)) == 14
    summary = bring_in(store, encoder, encoding=changed)
    assert (summary.indexed, summary.unchanged) == (1, 13)
    assert store.active.encoding == changed and store.building is None
    assert {rows.shape for rows in vectors(store).values()} == {(6, 16)}
    assert checks.verify(store) == []


@pytest.mark.parametrize("local", get_args(Pooling))
def test_every_kind_of_local_vectors_can_be_stored(
    store: Store, encoder: PhotoEncoder, folder: Path, local: Any
) -> None:
    m, precision = (16, "fp16") if local == "all" else (4, "int8")
    encoding = replace(ENCODING, local=local, m=m, precision=precision)
    index(store, encoder, [folder], encoding=encoding, model="tiny")
    assert {rows.shape for rows in vectors(store).values()} == {(1 + m, 16)}
    assert checks.verify(store) == []


def test_a_preview_says_what_a_run_does_and_changes_nothing(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    assert preview(store, [folder], encoding=ENCODING).indexed == 12
    assert photos(store, None) == {} and outcomes(store) == [] and store.active is None
    bring_in(store, encoder, folder)
    (folder / "a" / "00.png").rename(folder / "renamed.png")
    (folder / "a" / "02.png").unlink()
    (folder / "b" / "01.png").write_bytes(b"changed")
    paint(folder / "new.png", "white")
    before = photos(store, None)
    told = preview(store, [folder], encoding=ENCODING)
    assert photos(store, None) == before and outcomes(store) == ["done"]
    assert (told.indexed, told.renamed, told.missing, told.unchanged) == (3, 1, 1, 9)
    done = bring_in(store, encoder, folder)
    assert (done.indexed, done.failed) == (2, 1)
    assert (done.renamed, done.missing, done.unchanged) == (1, 1, 9)
    told = preview(store, [folder], encoding=replace(ENCODING, m=5), rebuild=True)
    assert told.indexed == 11  # the one that failed stays failed


@pytest.mark.parametrize("name", [b"new\nline.png", b"caf\xe9.png", b"back\\slash.png", b"%.png"])
def test_any_name_can_be_indexed_and_found_again(
    store: Store, encoder: PhotoEncoder, tmp_path: Path, name: bytes
) -> None:
    folder = tmp_path / "photos"
    paint(folder / "x.png", "red")
    try:
        (folder / "x.png").rename(folder / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system does not take the name")
    assert bring_in(store, encoder, folder).indexed == 1
    (photo,) = photos(store).values()
    assert os.fsencode(photo.path.name) == name and photo.path.exists()
    assert bring_in(store, encoder, folder).unchanged == 1


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
            files, "open", failing(open, lambda path, mode="r": "w" in mode), raising=False
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

    event.listen(store.engine, "checkout", limit)
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
    assert refused > 2 and len(vectors(store)) == 40 and checks.verify(store) == []


def test_one_folder_without_photos_does_not_keep_the_others_waiting(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    photo = paint(tmp_path / "other" / "x.png", "red")
    (tmp_path / "other" / "notes.txt").write_text("here")
    bring_in(store, encoder, folder, tmp_path / "other")
    photo.unlink()
    assert bring_in(store, encoder).missing == 1
    paint(folder / "new.png", "white")
    notes = Notes()
    assert bring_in(store, encoder, notes=notes).indexed == 1
    assert notes.said[0].startswith(f"left out {tmp_path / 'other'}: no photos under")


def test_a_rebuild_of_a_folder_that_is_not_there_begins_nothing(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    with pytest.raises(ConfigError, match="there is no folder"):
        bring_in(store, encoder, folder / "tpyo", encoding=replace(ENCODING, m=5), rebuild=True)
    assert store.building is None


def test_a_folder_that_became_a_link_to_itself_elsewhere_stays_the_same(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")
    for named in ([], [folder], [folder / "a"], [folder.parent / "elsewhere"]):
        summary = bring_in(store, encoder, *named)
        assert (summary.indexed, summary.missing) == (0, 0)
    assert len(photos(store, None)) == 12


def test_a_large_library_gets_its_candidate_index_and_again_when_much_is_new(
    store: Store, encoder: PhotoEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = BuildPolicy(min_photos=5)
    monkeypatch.setattr("indexer.index.optimize", partial(optimize, policy=quick))

    def known() -> int | None:
        active = store.active
        assert active is not None
        return store.catalog.candidate_index_photos(active.id)

    large: dict[str, Any] = {"optimize_from": 12, "optimize_after": 0.2}
    bring_in(store, encoder, folder, optimize_from=13)
    assert known() is None
    notes = Notes()
    bring_in(store, encoder, folder, notes=notes, **large)
    assert known() == 12
    assert notes.said == ["building the candidate index of 12 photos"]
    assert notes.steps == [("indexing vectors", 12, 12), ("measuring recall", 12, 12)]
    for number in range(4):
        paint(folder / f"new{number}.png", (9, 9, 60 * number), size=(40, 40))
        bring_in(store, encoder, folder, **large)
        assert known() == (12 if number < 3 else 16)
    bring_in(store, encoder, folder, optimize_from=0)
    assert known() == 16


@pytest.mark.parametrize("step", [1, 2])
def test_a_run_is_stopped_while_it_builds_the_candidate_index_and_the_next_builds_it(
    store: Store,
    encoder: PhotoEncoder,
    folder: Path,
    step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = BuildPolicy(min_photos=5)
    monkeypatch.setattr("indexer.index.optimize", partial(optimize, policy=quick))
    notes = Notes(stop_after=3 + step)  # three batches, and a step each of the building
    with pytest.raises(KeyboardInterrupt):
        bring_in(store, encoder, folder, notes=notes, optimize_from=12)
    names = ["indexing vectors", "measuring recall"]
    assert [name for name, *_ in notes.steps] == names[:step]
    assert len(photos(store)) == 12 and not list(store.directory.glob("index/*"))
    again = Notes()
    bring_in(store, encoder, folder, notes=again, optimize_from=12)
    assert again.said == ["building the candidate index of 12 photos"]
    assert len(list(store.index_folder.iterdir())) == 2


def test_contents_are_numbered_in_the_order_of_their_vectors(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    """So that the files of a candidate index name long runs of them, not each."""
    bring_in(store, encoder, folder)
    assert store.active is not None
    places = LocalSnapshot.open(store, store.active).vector_rows()
    assert len(places) == 12 and (np.diff(places[:, 2]) == 1).all()


def test_copies_of_a_photo_are_no_newer_than_it(
    store: Store, encoder: PhotoEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = BuildPolicy(min_photos=5)
    monkeypatch.setattr("indexer.index.optimize", partial(optimize, policy=quick))
    bring_in(store, encoder, folder, optimize_from=12)
    for number in range(12):
        copy = folder / "copies" / f"{number}.png"
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes((folder / "ab"[number % 2] / f"{number:02}.png").read_bytes())
    notes = Notes()
    bring_in(store, encoder, folder, notes=notes, optimize_from=12)
    assert len(photos(store)) == 24
    assert notes.said == []
