import os
import socket
from pathlib import Path
from typing import Any

import pytest

from indexer import exclude, walk
from indexer.walk import Walk, WalkRules
from mkt_search.errors import ConfigError
from mkt_search.files import SMALL
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


def left_out(top: Path, **rules: Any) -> dict[str, str]:
    """Reasons by path below the folder."""
    found = Walk(top, top, WalkRules(**rules)).left_out()
    return {item.path.relative_to(top).as_posix(): item.reason for item in found}


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


def test_a_file_without_a_suffix_is_a_photo_if_it_begins_like_one(tmp_path: Path) -> None:
    for name in ("phone", "a/b.c/DCIM0001", ".hidden", "trailing.", "photo.txt"):
        touch(tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0")
    touch(tmp_path / "README")
    assert paths(Walk(tmp_path, tmp_path)) == ["phone", "a/b.c/DCIM0001"]
    assert left_out(tmp_path)["README"] == walk.OTHER_FILE
    assert paths(Walk(tmp_path / "phone", tmp_path)) == ["phone"]
    with pytest.raises(ConfigError, match="not a photo"):
        list(Walk(tmp_path / "README", tmp_path))


def test_hidden_folders_and_photos_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in ("a.jpg", ".b.jpg", ".thumbs/c.jpg", ".thumbs/d.jpg"):
        touch(tmp_path / name)
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["a.jpg"]
    assert found.skipped == {walk.HIDDEN_FILE: 1, walk.HIDDEN_FOLDER: 1}


def test_hidden_photos_are_found_when_asked_for_but_never_the_library(tmp_path: Path) -> None:
    for name in ("a.jpg", ".b.jpg", ".thumbs/c.jpg", ".mkt/thumbs/d.jpg"):
        touch(tmp_path / name)
    found = Walk(tmp_path, tmp_path, WalkRules(hidden=True))
    assert paths(found) == [".b.jpg", "a.jpg", ".thumbs/c.jpg"]
    assert not found.skipped


def test_a_hidden_folder_can_be_asked_for_by_name(tmp_path: Path) -> None:
    touch(tmp_path / ".private" / "a.jpg")
    assert paths(Walk(tmp_path / ".private", tmp_path / ".private")) == ["a.jpg"]


def test_what_is_left_out_is_listed_with_the_reason(tmp_path: Path) -> None:
    for name in ("a.jpg", "notes.txt", ".b.jpg", ".thumbs/c.jpg", "x/@eaDir/d.jpg", "tmp/e.jpg"):
        touch(tmp_path / name)
    assert left_out(tmp_path, exclude=("/tmp",)) == {
        "notes.txt": walk.OTHER_FILE,
        ".b.jpg": walk.HIDDEN_FILE,
        ".thumbs": walk.HIDDEN_FOLDER,
        "x/@eaDir": exclude.BY_DEFAULT,
        "tmp": exclude.BY_OPTION,
    }


@posix
def test_a_link_to_a_photo_inside_is_followed(tmp_path: Path) -> None:
    real = touch(tmp_path / "real.jpg")
    (tmp_path / "link.jpg").symlink_to(real)
    assert paths(Walk(tmp_path, tmp_path)) == ["link.jpg", "real.jpg"]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with a photo and links: out to a photo, two folders, a broken one, and up."""
    touch(tmp_path / "outside" / "x" / "1.jpg")
    folder = touch(tmp_path / "in" / "2.jpg").parent
    (folder / "one").symlink_to(tmp_path / "outside")
    (folder / "two").symlink_to("../outside/x")
    (folder / "up").symlink_to("..")
    (folder / "link.jpg").symlink_to(tmp_path / "outside" / "x" / "1.jpg")
    (folder / "broken.jpg").symlink_to(tmp_path / "outside" / "nothing.jpg")
    return folder


@posix
def test_links_out_of_the_folder_are_left_out_and_counted(linked: Path) -> None:
    found = Walk(linked, linked)
    assert paths(found) == ["2.jpg"]
    assert found.skipped == {walk.LINK_OUT: 5}


@posix
def test_links_out_of_the_folder_are_taken_when_asked_for(linked: Path) -> None:
    found = Walk(linked, linked, WalkRules(follow_links=True))
    assert paths(found) == ["2.jpg", "broken.jpg", "link.jpg", "one/x/1.jpg"]
    assert found.skipped == {walk.SEEN_FOLDER: 3}  # two, and below up: in, outside


@posix
def test_a_link_to_another_part_of_the_root_does_not_lead_out(tmp_path: Path) -> None:
    touch(tmp_path / "2019" / "1.jpg")
    touch(tmp_path / "2020" / "2.jpg")
    (tmp_path / "2020" / "best").symlink_to(tmp_path / "2019")
    assert paths(Walk(tmp_path / "2020", tmp_path)) == ["2020/2.jpg", "2020/best/1.jpg"]


@posix
def test_a_name_that_begins_like_the_folder_is_outside(tmp_path: Path) -> None:
    touch(tmp_path / "photos2" / "1.jpg")
    touch(tmp_path / "photos" / "2.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "photos2")
    assert paths(Walk(tmp_path / "photos", tmp_path / "photos")) == ["2.jpg"]


@posix
def test_a_root_that_became_a_link_is_still_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a" / "1.jpg")
    (tmp_path / "elsewhere" / "b").symlink_to("a/1.jpg")
    (tmp_path / "elsewhere" / "c.jpg").symlink_to("a/1.jpg")
    (tmp_path / "root").symlink_to("elsewhere")
    assert paths(Walk(tmp_path / "root", tmp_path / "root")) == ["c.jpg", "a/1.jpg"]


@posix
def test_a_photo_that_is_named_is_taken_even_if_it_is_a_link(linked: Path) -> None:
    assert paths(Walk(linked / "link.jpg", linked)) == ["link.jpg"]


def test_folders_that_share_a_device_and_inode_are_all_visited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.jpg", "b/2.jpg", "b/c/3.jpg"):
        touch(tmp_path / name)
    real = os.stat

    def same_inode(path: Any, **more: Any) -> os.stat_result:
        about = real(path, **more)
        return os.stat_result((about.st_mode, 0, 0, *tuple(about)[3:]))

    monkeypatch.setattr(os, "stat", same_inode)
    assert paths(Walk(tmp_path, tmp_path)) == ["a/1.jpg", "b/2.jpg", "b/c/3.jpg"]


@posix
@pytest.mark.parametrize("seconds", [-(10**11), -1, 0, 10**10, 2**33, 10**11])
def test_any_time_of_a_file_fits_into_the_database(tmp_path: Path, seconds: int) -> None:
    path = touch(tmp_path / "a.jpg")
    try:
        os.utime(path, (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("this file system does not take the time")
    (file,) = Walk(tmp_path, tmp_path)
    assert -(2**63) <= file.mtime_ns < 2**63
    (alone,) = Walk(path, tmp_path)
    assert alone.mtime_ns == file.mtime_ns


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
def test_broken_links_and_links_to_themselves_are_left_for_the_loader(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    assert paths(Walk(tmp_path, tmp_path)) == ["gone.jpg", "self.jpg"]


@posix
def test_pipes_and_sockets_are_found_without_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
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


def ignore(folder: Path, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / exclude.IGNORE_FILE).write_text("\n".join(lines))


def test_an_ignore_file_leaves_out_what_it_names_below_its_folder(tmp_path: Path) -> None:
    for name in ("a.jpg", "a_small.jpg", "web/b.jpg", "2019/web/c.jpg", "2019/c_small.jpg"):
        touch(tmp_path / name)
    ignore(tmp_path, "# made by a script", "*_small.jpg", "/web/")
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["a.jpg", "2019/web/c.jpg"]
    assert found.skipped == {exclude.BY_FILE: 3, walk.OTHER_FILE: 1}


def test_an_ignore_file_deeper_down_decides(tmp_path: Path) -> None:
    for name in ("a.png", "b/c.png", "b/d.png", "b/e/f.png"):
        touch(tmp_path / name)
    ignore(tmp_path, "*.png")
    ignore(tmp_path / "b", "!c.png", "!/e/*.png")
    assert paths(Walk(tmp_path, tmp_path)) == ["b/c.png", "b/e/f.png"]


def test_ignore_files_above_the_folder_count_up_to_the_root(tmp_path: Path) -> None:
    for name in ("2019/may/a.jpg", "2019/may/b.jpg", "2019/may/c.jpg"):
        touch(tmp_path / name)
    ignore(tmp_path, "b.jpg")
    ignore(tmp_path / "2019", "may/c.jpg")
    assert paths(Walk(tmp_path / "2019" / "may", tmp_path)) == ["2019/may/a.jpg"]


def test_a_folder_excluded_by_default_can_be_taken_by_an_ignore_file(tmp_path: Path) -> None:
    touch(tmp_path / "#recycle" / "a.jpg")
    ignore(tmp_path, "!\\#recycle/")
    assert paths(Walk(tmp_path, tmp_path)) == ["#recycle/a.jpg"]


@pytest.mark.parametrize("content", [b"a\\", b"!", bytes(SMALL + 1)])
def test_a_folder_whose_ignore_file_makes_no_sense_is_left_out(
    tmp_path: Path, content: bytes
) -> None:
    touch(tmp_path / "a" / "1.jpg")
    touch(tmp_path / "b" / "2.jpg")
    (tmp_path / "a" / exclude.IGNORE_FILE).write_bytes(content)
    found = Walk(tmp_path, tmp_path)
    assert paths(found) == ["b/2.jpg"]
    reason = found.unreadable[tmp_path / "a"]
    assert "its .mktignore is not valid" in reason or "cannot be read (larger than" in reason


@posix
def test_an_ignore_file_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    touch(tmp_path / "1.jpg")
    os.mkfifo(tmp_path / exclude.IGNORE_FILE)
    assert left_out(tmp_path) == {
        ".": "unreadable folder: its .mktignore cannot be read (not a regular file)"
    }


def test_every_photo_is_taken_or_left_out_once(tmp_path: Path) -> None:
    names = ["a.jpg", "b_small.jpg", ".c.jpg", "d.txt", "e/f.jpg", "e/g_small.jpg"]
    for name in names:
        touch(tmp_path / name)
    ignore(tmp_path, "*_small.jpg")
    taken = paths(Walk(tmp_path, tmp_path))
    assert sorted([*taken, *left_out(tmp_path)]) == sorted([*names, exclude.IGNORE_FILE])


def test_a_very_deep_tree_is_walked(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 200)
    touch(deep / "1.jpg")
    assert paths(Walk(tmp_path, tmp_path)) == ["d/" * 200 + "1.jpg"]
