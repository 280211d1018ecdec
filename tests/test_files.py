"""Files that are replaced as a whole or left as they were."""

import os
from pathlib import Path

import pytest

from mkt_search.files import write_atomically


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
