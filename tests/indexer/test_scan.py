"""What a scan finds: new, changed, vanished and hidden photos, and folders of the library."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.scan import FileStatus, Names, classify, left_out, scan_folders
from mkt_search.errors import ConfigError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.store.records import KnownPhoto
from mkt_search.store.store import Store
from mkt_search.types import PhotoFile
from tests.indexer.indexed import Notes, bring_in, photos, vectors
from tests.tiny import paint

FILE = PhotoFile(Path("/photos"), "x.png", Path("/photos/x.png"), 10, 7)


def known(*, size: int = 10, state: str = "indexed", has_vectors: bool = True) -> KnownPhoto:
    return KnownPhoto(1, size, 7, "abc", state, None, has_vectors)


@pytest.mark.parametrize(
    ("row", "retry", "status"),
    [
        (None, False, FileStatus.NEW),
        (known(), False, FileStatus.UNCHANGED),
        (known(size=11), False, FileStatus.CHANGED),
        (known(has_vectors=False), False, FileStatus.UNENCODED),
        (replace(known(), lacks_miniature=True), False, FileStatus.WITHOUT_MINIATURE),
        (known(state="missing"), False, FileStatus.RETURNED),
        (known(state="failed", has_vectors=False), False, FileStatus.FAILED),
        (known(state="failed", has_vectors=False), True, FileStatus.RETRIED),
    ],
)
def test_a_file_is_compared_with_its_row(
    row: KnownPhoto | None, retry: bool, status: FileStatus
) -> None:
    assert classify(FILE, row, retry=retry) is status


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (None, FileStatus.NEW),
        (known(), FileStatus.CHECKED),
        (known(size=11), FileStatus.CHANGED),
        (known(state="missing"), FileStatus.CHECKED),
        (known(state="failed", has_vectors=False), FileStatus.CHECKED),
    ],
)
def test_every_known_file_is_read_again_when_contents_are_checked(
    row: KnownPhoto | None, status: FileStatus
) -> None:
    assert classify(FILE, row, check_content=True) is status


def test_a_scan_writes_nothing_not_even_that_a_folder_is_new(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder / "a", folder / "b")
    before = store.catalog.root_folders(), photos(store, None), store.revision()
    (folder / "a" / "00.png").unlink()
    paint(folder / "new.png", "white")
    (result,) = scan_folders(store, [folder], store.active)
    assert (result.photos, result.to_load, list(result.vanished)) == (12, 1, ["a/00.png"])
    assert result.target.location.id is None
    assert (store.catalog.root_folders(), photos(store, None), store.revision()) == before


def test_a_scan_reports_how_many_photos_it_found(store: Store, folder: Path) -> None:
    notes = Notes()
    scan_folders(store, [folder], None, progress=notes)
    assert [(event.step, event.done) for event in notes.scans] == [("finding photos", 0)]


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
    assert notes.messages == [f"left out {folder / 'a'}: permission denied"]


def test_photos_found_with_hidden_are_not_missing_without(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    paint(folder / ".private" / "x.png", "red")
    assert bring_in(store, encoder, folder, hidden=True).indexed == 13
    summary = bring_in(store, encoder, folder)
    assert summary.missing == 0 and summary.skipped["hidden folder"] == 1


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


def test_a_folder_takes_over_what_was_indexed_below_it(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder / "a")
    summary = bring_in(store, encoder, folder)
    assert (summary.indexed, summary.unchanged) == (6, 6)
    assert set(photos(store)) == {f"{'ab'[n % 2]}/{n:02}.png" for n in range(12)}


def test_a_folder_is_registered_even_if_nothing_in_it_is_new(
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


def test_without_a_folder_all_folders_of_the_library_are_scanned(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "other" / "x.png", "red")
    bring_in(store, encoder, folder, tmp_path / "other")
    paint(folder / "new.png", "white")
    (tmp_path / "other").rename(tmp_path / "unplugged")
    notes = Notes()
    summary = bring_in(store, encoder, notes=notes)
    assert (summary.indexed, summary.unchanged, summary.missing) == (1, 12, 0)
    assert notes.messages == [f"left out {tmp_path / 'other'}: the folder does not exist now"]


def test_an_empty_folder_where_photos_were_is_taken_for_a_missing_disk(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    folder.rename(folder.parent / "unplugged")
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"is empty, but the library has 12 photos"):
        bring_in(store, encoder, folder)
    assert len(photos(store)) == 12


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_photos_is_refused_and_leaves_no_trace(
    store: Store, encoder: PhotoEncoder, tmp_path: Path, make: bool
) -> None:
    if make:
        (tmp_path / "empty" / ".hidden").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"no photos in .*\.jpg .*--hidden|there is no folder"):
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


def test_a_folder_without_photos_does_not_stop_the_others(
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
    assert notes.messages[0].startswith(f"left out {tmp_path / 'other'}: no photos in")


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


def test_what_the_last_run_left_out_is_listed_folder_by_folder(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    paint(folder / ".private" / "x.png", "red")
    other = paint(tmp_path / "other" / "x.png", "red").parent
    (other / "notes.txt").write_text("milk")
    assert list(left_out(store)) == []
    bring_in(store, encoder, folder, other, exclude=("b/",))
    found = {item.path: item.reason for item in left_out(store)}
    assert found == {
        folder / ".private": "hidden folder",
        folder / "b": "excluded by --exclude",
        other / "notes.txt": "not a photo",
    }
    bring_in(store, encoder, hidden=True)
    other.rename(tmp_path / "unplugged")
    found = {item.path: item.reason for item in left_out(store)}
    assert found == {other: "the folder does not exist now"}


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_photos_behind_links_stay_when_these_are_left_out(
    store: Store, encoder: PhotoEncoder, folder: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "disk" / "x.png", "red")
    (folder / "disk").symlink_to(tmp_path / "disk")
    assert bring_in(store, encoder, folder, follow_links=True).indexed == 13
    summary = bring_in(store, encoder, folder)
    assert (summary.missing, summary.skipped) == (0, {"link out of the folder": 1})


def test_photos_that_an_ignore_file_names_are_missing_until_it_does_not(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    (folder / ".mktignore").write_text("/a/\n01.png\n")
    summary = bring_in(store, encoder, folder)
    assert (summary.missing, summary.unchanged) == (7, 5)
    assert "b/01.png" not in photos(store) and len(photos(store)) == 5
    (folder / ".mktignore").unlink()
    assert bring_in(store, encoder, folder).unchanged == 12 and len(photos(store)) == 12


def test_photos_that_an_option_excludes_stay(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    summary = bring_in(store, encoder, folder, exclude=("a/",))
    assert (summary.missing, summary.unchanged) == (0, 6)
    assert len(photos(store)) == 12


def test_a_folder_in_which_everything_is_left_out_says_why(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    (folder / ".mktignore").write_text("*.png\n")
    with pytest.raises(ConfigError, match=r"no photos in .* Left out: 12 x excluded by .mktignore"):
        bring_in(store, encoder, folder)


def test_a_file_whose_name_has_other_capitals_now_is_renamed(
    store: Store, encoder: PhotoEncoder, folder: Path
) -> None:
    bring_in(store, encoder, folder)
    ids = {photo.id for photo in photos(store).values()}
    (folder / "a" / "00.png").rename(folder / "a" / "00.PNG")
    (folder / "b").rename(folder / "B")
    summary = bring_in(store, encoder, folder)
    assert (summary.renamed, summary.duplicates, summary.missing) == (7, 0, 0)
    assert {photo.id for photo in photos(store, None).values()} == ids


def test_names_are_as_their_folder_lists_them_not_as_it_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that folds case finds a file under any capitals."""
    (tmp_path / "Trip").mkdir()
    (tmp_path / "Trip" / "a.jpg").touch()
    found = os.stat(tmp_path / "Trip" / "a.jpg")
    monkeypatch.setattr("os.stat", lambda *_, **__: found)
    names = Names(tmp_path)
    lacking = [Path(name) for name in ("trip/a.jpg", "Trip/A.jpg", "Trip/b.jpg", "c/a.jpg")]
    assert all(names.lack(path) for path in lacking)
    assert not names.lack(Path("Trip/a.jpg")) and not names.lack(Path("Trip"))


def test_a_folder_that_cannot_be_listed_lacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.listdir", refuse)
    assert not Names(tmp_path).lack(Path("a.jpg"))
