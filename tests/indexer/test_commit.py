"""A batch becomes rows and vectors: copies, renamed photos and failures are recognized."""

import os
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np

from mkt_search.models.encoder import PhotoEncoder
from mkt_search.store import checks
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests.indexer.indexed import bring_in, photos, vectors
from tests.tiny import paint


def test_a_photo_that_was_only_touched_is_not_encoded_again(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    before = photos(store)
    os.utime(folder / "a" / "00.png", (10**9, 10**9))
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged) == (0, 12)
    after = photos(store)
    assert {photo.id: photo.content for photo in after.values()} == {
        photo.id: photo.content for photo in before.values()
    }
    touched = after.pop("a/00.png").facts  # its time is its date
    assert touched is not None and touched.taken_at == datetime.fromtimestamp(10**9)
    assert all(photo == before[path] for path, photo in after.items())
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
    assert active is not None and len(store.manifest(active.id).live) == 12
    shutil.copy2(folder / "b" / "01.png", folder / "another.png")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.duplicates) == (1, 1)
    assert photos(store)["another.png"].facts == photos(store)["b/01.png"].facts
    assert checks.verify(store) == []


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


def test_contents_are_numbered_in_the_order_of_their_vectors(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    """So that the files of a candidate index name long runs of them, not each."""
    bring_in(store, encoder, folder)
    assert store.active is not None
    places = LocalSnapshot.open(store, store.active).vector_rows()
    assert len(places) == 12 and (np.diff(places[:, 2]) == 1).all()
