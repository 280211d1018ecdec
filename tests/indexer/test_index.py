"""`index` on painted photos with the tiny student: what is stored, rebuilt, refused, previewed."""

import hashlib
import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from indexer.index import index_library, preview
from indexer.pipeline import IndexPolicy
from mkt_search.errors import CheckpointMismatch, ConfigError, LibraryLocked, ModelError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos.decode import decode, to_pixels
from mkt_search.pooling.pool import pool
from mkt_search.progress import INDEXING, Progress
from mkt_search.settings.config import Config
from mkt_search.settings.override import override
from mkt_search.store import checks
from mkt_search.store.store import Store
from mkt_search.types import Pooling
from tests.indexer.indexed import ENCODING, SPEC, Notes, bring_in, outcomes, photos, plan, vectors
from tests.tiny import paint, tiny_checkpoint, tiny_clip


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


def test_a_second_indexer_is_refused_and_the_first_untouched(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    second = Store.open(store.directory)
    refused: list[str] = []

    class Meanwhile(Notes):
        def __call__(self, event: Progress) -> None:
            super().__call__(event)
            if event.step != INDEXING or not event.done:
                return
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
            preview(store, [folder], plan(changed))
    assert vectors(store).keys() == before.keys()


def test_a_library_of_another_decoder_is_searched_and_takes_no_new_photos(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before = vectors(store)
    newer = replace(ENCODING, decoder=ENCODING.decoder + 1)
    with pytest.raises(CheckpointMismatch, match=r"earlier version .* `mkt index --rebuild`"):
        bring_in(store, encoder, folder, encoding=newer)
    assert vectors(store).keys() == before.keys()
    assert bring_in(store, encoder, folder, encoding=newer, rebuild=True).indexed == 12
    assert store.active is not None and store.active.encoding == newer


def test_a_rebuild_is_searched_only_when_it_is_complete(
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
    assert notes.messages[0].startswith("resuming: 6 of 13 done")
    assert "not finished: 1 photos of other folders" in notes.messages[1]
    assert len(vectors(store)) == 14
    summary = bring_in(store, encoder, encoding=changed)
    assert (summary.indexed, summary.unchanged) == (1, 13)
    assert store.active.encoding == changed and store.building is None
    assert {rows.shape for rows in vectors(store).values()} == {(6, 16)}
    assert checks.verify(store) == []


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_every_kind_of_local_vectors_can_be_stored(
    store: Store, encoder: PhotoEncoder, folder: Path, pooling: Any
) -> None:
    m, precision = (16, "fp16") if pooling == "all" else (4, "int8")
    encoding = replace(ENCODING, pooling=pooling, m=m, precision=precision)
    bring_in(store, encoder, folder, encoding=encoding)
    assert {rows.shape for rows in vectors(store).values()} == {(1 + encoding.m, 16)}
    assert checks.verify(store) == []


def test_a_preview_says_what_a_run_does_and_changes_nothing(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    assert preview(store, [folder], plan()).indexed == 12
    assert photos(store, None) == {} and outcomes(store) == [] and store.active is None
    bring_in(store, encoder, folder)
    (folder / "a" / "00.png").rename(folder / "renamed.png")
    (folder / "a" / "02.png").unlink()
    (folder / "b" / "01.png").write_bytes(b"changed")
    paint(folder / "new.png", "white")
    before = photos(store, None)
    found = preview(store, [folder], plan())
    assert photos(store, None) == before and outcomes(store) == ["done"]
    assert (found.indexed, found.renamed, found.missing, found.unchanged) == (3, 1, 1, 9)
    done = bring_in(store, encoder, folder)
    assert (done.indexed, done.failed) == (2, 1)
    assert (done.renamed, done.missing, done.unchanged) == (1, 1, 9)
    found = preview(store, [folder], plan(replace(ENCODING, m=5), rebuild=True))
    assert found.indexed == 11  # the one that failed stays failed


def edit_keeping_size_and_time(path: Path, colour: str) -> None:
    before = path.stat()
    paint(path, colour, size=(40, 40))
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_preview_reads_touched_files_before_it_counts_them(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    for name in ("x.bmp", "y.bmp"):  # of the same size whatever they show
        paint(folder / name, "red", size=(40, 40))
    bring_in(store, encoder, folder)
    os.utime(folder / "a" / "00.png", (1, 1))
    os.utime(folder / "a" / "02.png", (2**34, 2**34))
    paint(folder / "x.bmp", "blue", size=(40, 40))
    os.utime(folder / "x.bmp", (1, 1))
    found = preview(store, [folder], plan())
    assert (found.indexed, found.unchanged, found.missing) == (1, 13, 0)
    done = bring_in(store, encoder, folder)
    assert (done.indexed, done.unchanged, done.missing) == (1, 13, 0)
    assert preview(store, [folder], plan()).unchanged == 14


def test_an_edit_that_keeps_size_and_time_is_found_when_contents_are_checked(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    paint(folder / "x.bmp", "red", size=(40, 40))
    bring_in(store, encoder, folder)
    before = vectors(store)
    edit_keeping_size_and_time(folder / "x.bmp", "blue")
    assert bring_in(store, encoder, folder).unchanged == 13
    checking = IndexPolicy(check_content=True)
    found = preview(store, [folder], plan(), policy=checking)
    assert (found.indexed, found.unchanged) == (1, 12)
    done = bring_in(store, encoder, folder, check_content=True)
    assert (done.indexed, done.unchanged, done.failed) == (1, 12, 0)
    after = vectors(store)
    assert [path for path in before if not np.array_equal(before[path], after[path])] == ["x.bmp"]
    assert checks.verify(store) == []


def test_checking_contents_that_have_not_changed_writes_nothing(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before = store.revision(), photos(store)
    assert bring_in(store, encoder, folder, check_content=True).unchanged == 12
    assert (store.revision(), photos(store)) == before


@pytest.mark.parametrize("seconds", [-(10**11), 0, 10**10, 2**33])
def test_a_photo_with_an_absurd_time_is_indexed_like_the_others(
    store: Store, encoder: PhotoEncoder, folder: Path, seconds: int
) -> None:
    try:
        os.utime(folder / "a" / "00.png", (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("this file system does not take the time")
    assert bring_in(store, encoder, folder).indexed == 12
    assert bring_in(store, encoder, folder).unchanged == 12
    facts = photos(store)["a/00.png"].facts
    assert facts is not None and facts.taken_at is None and facts.date_source is None


def test_a_photo_without_a_date_takes_that_of_its_own_file(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    copy = folder / "IMG-20210506-WA0001.png"
    copy.write_bytes((folder / "a" / "00.png").read_bytes())
    times = datetime(2019, 5, 2, 10, 11, 12), datetime(2018, 1, 1)
    for path, time in zip((folder / "a" / "00.png", copy), times, strict=True):
        os.utime(path, (time.timestamp(), time.timestamp()))
    bring_in(store, encoder, folder)

    def dates() -> dict[str, tuple[datetime | None, str | None]]:
        found = {path: photo.facts for path, photo in photos(store).items()}
        return {path: (f.taken_at, f.date_source) for path, f in found.items() if f is not None}

    assert dates()["a/00.png"] == (times[0], "mtime")
    assert dates()[copy.name] == (datetime(2021, 5, 6), "name")
    (folder / "a" / "00.png").rename(folder / "a" / "Screenshot_2020-02-03-04-05-06.png")
    copy.rename(folder / "x.png")
    bring_in(store, encoder, folder)
    assert dates()["a/Screenshot_2020-02-03-04-05-06.png"] == (
        datetime(2020, 2, 3, 4, 5, 6),
        "name",
    )
    assert dates()["x.png"] == (times[1], "mtime")


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


def test_a_rebuild_of_a_folder_that_is_not_there_begins_nothing(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    with pytest.raises(ConfigError, match="there is no folder"):
        bring_in(store, encoder, folder / "tpyo", encoding=replace(ENCODING, m=5), rebuild=True)
    assert store.building is None


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Settings that name a tiny checkpoint."""
    checkpoint = tiny_checkpoint(tmp_path_factory.mktemp("student"))
    values = {"model.checkpoint": str(checkpoint), "model.device": "cpu", "index.workers": 2}
    return override(Config(), values)


def test_the_model_is_recorded_with_a_new_encoding_and_with_a_rebuilt_one(
    store: Store, folder: Path, config: Config
) -> None:
    index_library(store, config, [folder])
    first = store.active
    assert first is not None and first.record is not None
    index_library(store, override(config, {"index.m": 5}), rebuild=True)
    second = store.active
    assert second is not None and second.id != first.id
    assert second.record == first.record


def test_a_checkpoint_that_was_moved_stays_recorded(
    store: Store, folder: Path, config: Config, tmp_path: Path
) -> None:
    index_library(store, config, [folder])
    moved = shutil.copytree(config.model.checkpoint, tmp_path / "moved")  # keeps the times
    index_library(store, override(config, {"model.checkpoint": str(moved)}))
    active = store.active
    assert active is not None and active.model == str(moved) and active.record is not None


def test_a_misspelled_folder_or_pattern_is_refused_before_the_model_is_loaded(
    store: Store, config: Config, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        index_library(store, override(config, {"model.device": "nowhere"}), [tmp_path / "tpyo"])
    with pytest.raises(ConfigError, match="--exclude"):
        nowhere = override(config, {"model.device": "nowhere"})
        index_library(store, nowhere, [tmp_path], exclude=["!"])
    with pytest.raises(ModelError, match="nowhere"):
        index_library(store, override(config, {"model.device": "nowhere"}), [tmp_path])
    assert store.active is None and outcomes(store) == []


def test_an_old_library_of_a_clip_grows_as_it_was_made_and_says_what_a_rebuild_changes(
    store: Store, tmp_path: Path
) -> None:
    given = {"model.checkpoint": tiny_clip(tmp_path / "clip"), "model.device": "cpu"}
    old = override(Config(), {**given, "model.patch_vectors": "own"})
    paint(tmp_path / "photos" / "1.png", "red")
    notes = Notes()
    index_library(store, old, [tmp_path / "photos"], progress=notes)
    paint(tmp_path / "photos" / "2.png", "blue")
    assert not any("patch_vectors" in message for message in notes.messages)
    plain = override(Config(), given)
    index_library(store, plain, progress=notes)
    assert store.active is not None and store.active.encoding.patch_vectors == "own"
    before = vectors(store)["2.png"]
    assert any("patch_vectors own -> kk" in message for message in notes.messages)
    index_library(store, plain, rebuild=True, progress=notes)
    after = vectors(store)["2.png"]
    np.testing.assert_array_equal(after[0], before[0])  # the global vector
    assert np.abs(after[1:] - before[1:]).max() > 0.01
    with pytest.raises(CheckpointMismatch, match="patch_vectors kk -> value"):
        index_library(store, override(Config(), {**given, "model.patch_vectors": "value"}))
