import os
import socket
from pathlib import Path

import pytest

from indexer import walk
from indexer.walk import Walk
from mkt_search.errors import ConfigError
from mkt_search.paths import text_to_path

posix = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX file system")
not_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def paths(found: Walk) -> list[str]:
    return [file.path for file in found]


def test_photos_come_in_the_order_of_their_names_files_before_folders(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.jpg", "a/z.PNG", "c.webp", "B.JPG", "a/deep/er/x.gif"):
        touch(tmp_path / name)
    expected = ["B.JPG", "c.webp", "a/z.PNG", "a/deep/er/x.gif", "b/10.jpg", "b/2.jpg"]
    assert paths(Walk(tmp_path, tmp_path)) == expected
    assert paths(Walk(tmp_path, tmp_path)) == expected


def test_a_photo_carries_its_size_time_and_place(tmp_path: Path) -> None:
    path = touch(tmp_path / "a" / "b.jpg")
    (file,) = Walk(tmp_path, tmp_path)
    about = path.stat()
    assert (file.root, file.path, file.absolute) == (tmp_path, "a/b.jpg", path)
    assert (file.size, file.mtime_ns) == (about.st_size, about.st_mtime_ns)


def test_paths_are_relative_to_the_root_when_the_walk_starts_below_it(tmp_path: Path) -> None:
    touch(tmp_path / "2019" / "may" / "1.jpg")
    touch(tmp_path / "2020" / "2.jpg")
    assert paths(Walk(tmp_path / "2019", tmp_path)) == ["2019/may/1.jpg"]


def test_a_single_photo_can_be_walked(tmp_path: Path) -> None:
    touch(tmp_path / "other.jpg")
    path = touch(tmp_path / "a" / "one.jpg")
    assert paths(Walk(path, tmp_path)) == ["a/one.jpg"]


@pytest.mark.parametrize("name", ["missing", "missing.jpg"])
def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="there is no folder or photo"):
        list(Walk(tmp_path / name, tmp_path))


def test_a_single_file_that_is_no_photo_is_an_error_that_names_the_suffixes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.jpg"):
        list(Walk(touch(tmp_path / "notes.txt"), tmp_path))


def test_other_files_are_counted_and_left_out(tmp_path: Path) -> None:
    for name in ("a.jpg", "notes.txt", "film.mp4", "jpg", "README"):
        touch(tmp_path / name)
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["a.jpg"]
    assert found.skipped == {walk.OTHER_FILE: 4}


def test_hidden_folders_and_photos_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("a.jpg", ".b.jpg", ".thumbs/c.jpg", ".thumbs/d.jpg"):
        touch(tmp_path / name)
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["a.jpg"]
    assert found.skipped == {walk.HIDDEN_FILE: 1, walk.HIDDEN_FOLDER: 1}


def test_hidden_photos_are_found_when_asked_for_but_never_the_library(tmp_path: Path) -> None:
    for name in ("a.jpg", ".b.jpg", ".thumbs/c.jpg", ".mkt/thumbs/d.jpg"):
        touch(tmp_path / name)
    found = Walk(tmp_path, tmp_path, hidden=True)
    assert paths(found) == [".b.jpg", "a.jpg", ".thumbs/c.jpg"]
    assert not found.skipped


def test_a_hidden_folder_can_be_asked_for_by_name(tmp_path: Path) -> None:
    touch(tmp_path / ".private" / "a.jpg")
    assert paths(Walk(tmp_path / ".private", tmp_path / ".private")) == ["a.jpg"]


@posix
def test_a_link_to_a_photo_is_followed(tmp_path: Path) -> None:
    outside = touch(tmp_path / "outside" / "real.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.jpg").symlink_to(outside)
    (file,) = Walk(tmp_path / "in", tmp_path / "in")
    assert (file.path, file.size) == ("link.jpg", 1)


@posix
def test_a_link_that_leads_back_up_is_visited_once(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "b" / "1.jpg")
    (tmp_path / "a" / "b" / "loop").symlink_to(tmp_path)
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["a/b/1.jpg"]
    assert found.skipped == {walk.SEEN_FOLDER: 1}


@posix
def test_a_real_folder_wins_over_an_earlier_link_to_it(tmp_path: Path) -> None:
    touch(tmp_path / "z" / "1.jpg")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["z/1.jpg"]
    assert found.skipped == {walk.SEEN_FOLDER: 1}


@posix
def test_a_folder_outside_is_reached_through_its_link_once(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "x" / "1.jpg")
    touch(tmp_path / "in" / "2.jpg")
    (tmp_path / "in" / "one").symlink_to(tmp_path / "disk")
    (tmp_path / "in" / "two").symlink_to(tmp_path / "disk")
    found = Walk(tmp_path / "in", tmp_path / "in")
    assert paths(found) == ["2.jpg", "one/x/1.jpg"]
    assert found.skipped == {walk.SEEN_FOLDER: 1}


@posix
def test_broken_links_and_links_to_themselves_are_left_for_the_loader(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    assert paths(Walk(tmp_path, tmp_path)) == ["gone.jpg", "self.jpg"]


@posix
def test_pipes_and_sockets_are_found_without_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.png")
        assert paths(Walk(tmp_path, tmp_path)) == ["pipe.jpg", "socket.png"]


@posix
@not_root
def test_an_unreadable_folder_is_named_and_the_walk_goes_on(tmp_path: Path) -> None:
    touch(tmp_path / "closed" / "1.jpg")
    touch(tmp_path / "open" / "2.jpg")
    (tmp_path / "closed").chmod(0)
    found = Walk(tmp_path, tmp_path)
    try:
        assert paths(found) == ["open/2.jpg"]
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert found.unreadable == {tmp_path / "closed": "permission denied"}


def test_a_folder_the_system_will_not_show_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "closed" / "1.jpg")
    touch(tmp_path / "open" / "2.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["open/2.jpg"]
    assert found.skipped == {walk.UNREADABLE: 1}
    assert found.unreadable == {tmp_path / "closed": "permission denied"}


@posix
@pytest.mark.parametrize(
    "name", [b"new\nline.jpg", b"caf\xe9.jpg", b"back\\slash.jpg", "🏖.jpg".encode(), b"-rf.jpg"]
)
def test_any_name_is_found_and_leads_back_to_its_file(tmp_path: Path, name: bytes) -> None:
    try:
        touch(tmp_path / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system does not take the name")
    (file,) = Walk(tmp_path, tmp_path)
    file.path.encode("utf-8")
    assert (tmp_path / text_to_path(file.path)).read_bytes() == b"x"
    assert os.fsencode(file.absolute.name) == name


def test_a_very_deep_tree_is_walked(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 200)
    touch(deep / "1.jpg")
    assert paths(Walk(tmp_path, tmp_path)) == ["d/" * 200 + "1.jpg"]
