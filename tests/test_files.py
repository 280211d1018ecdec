"""Files that are read with a bound, and replaced as a whole or left as they were."""

import os
from pathlib import Path

import pytest

from mkt_search.errors import ConfigError, MktError
from mkt_search.files import open_regular, read_bytes, read_text, write_atomically


@pytest.mark.parametrize("data", [b"n\xc3\xa4me", memoryview(b"n\xc3\xa4me"), "näme"])
def test_bytes_and_text_are_written_as_utf_8(
    tmp_path: Path, data: bytes | memoryview | str
) -> None:
    write_atomically(tmp_path / "a", data)
    assert (tmp_path / "a").read_bytes() == "näme".encode()


def test_new_content_replaces_the_old(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    write_atomically(file, b"a long old content")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new" and list(tmp_path.iterdir()) == [file]


def test_failed_write_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.pt"
    write_atomically(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_leftover_of_a_killed_writer_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.tmp").write_bytes(b"half of what was to be")
    write_atomically(tmp_path / "a", b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"whole")]


def test_missing_folder_is_the_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "a", b"x")


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "a.tmp").symlink_to("victim")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "a").read_bytes() == b"new"


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("näme".encode("utf-8-sig"))
    assert read_text(tmp_path / "a", MktError) == "näme"


def test_text_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\ntwo \xff\n")
    with pytest.raises(ConfigError, match=r"^here:2: not UTF-8 text; save it as UTF-8$"):
        read_text(tmp_path / "a", ConfigError, shown="here")


def unreadable(folder: Path) -> dict[str, Path]:
    """Return files that nobody should read, and names that are none."""
    os.mkfifo(folder / "pipe")
    (folder / "large").write_bytes(b"")
    os.truncate(folder / "large", 10**12)  # takes no room on the disk
    (folder / "link").symlink_to("link")
    devices = {"a device": Path("/dev/zero"), "a file without an end": Path("/proc/self/mem")}
    return devices | {
        **{"a pipe": folder / "pipe", "a folder": folder, "a large file": folder / "large"},
        **{"a link to itself": folder / "link", "no file": folder / "none"},
        **{"a long name": folder / ("n" * 5_000), "a NUL": folder / "a\0b"},
    }


@pytest.mark.skipif(os.name == "nt", reason="POSIX has them")
def test_a_file_of_another_kind_or_size_is_refused_at_once(tmp_path: Path) -> None:
    for file in unreadable(tmp_path).values():
        with pytest.raises(ConfigError):
            read_text(file, ConfigError)


def test_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", at_most=5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_bytes(tmp_path / "a", at_most=4)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system cannot tell")
def test_a_link_is_followed_only_if_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == b"1"
    with pytest.raises(OSError):
        open_regular(tmp_path / "link", follow_links=False)
