"""Errors of the disk as sentences with a way out."""

import errno
import os
from pathlib import Path

import pytest

from mkt_search.errors import StoreError
from mkt_search.store.disk import disk_errors

HOME = Path("/library")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_is_safe_and_what_to_do(number: int) -> None:
    with pytest.raises(StoreError, match=r"/library is full.*Free some space"), disk_errors(HOME):
        raise OSError(number, os.strerror(number))


def test_another_refusal_has_the_reason_of_the_system() -> None:
    with pytest.raises(StoreError, match=r"Cannot write to /library: Read-only file system\."):
        with disk_errors(HOME):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(KeyError), disk_errors(HOME):
        raise KeyError("x")


def test_a_folder_in_the_place_of_a_file_is_to_be_moved_away(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"a is a folder, where a file.*Move it away"):
        with disk_errors(tmp_path):
            (tmp_path / "a").mkdir()
            (tmp_path / "b").write_bytes(b"?")
            os.replace(tmp_path / "b", tmp_path / "a")
