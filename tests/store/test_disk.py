"""Errors of the disk are sentences with a way out."""

import errno
import os
from pathlib import Path

import pytest

from mkt_search.errors import StoreError
from mkt_search.store.disk import disk_errors


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_is_safe_and_what_to_do(code: int) -> None:
    with pytest.raises(StoreError, match=r"is full; what was committed before is safe\. Free"):
        with disk_errors(Path("library")):
            raise OSError(code, os.strerror(code))


def test_another_error_names_the_folder_and_the_reason() -> None:
    with pytest.raises(StoreError, match=r"Cannot write to library: Permission denied\."):
        with disk_errors(Path("library")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_other_exceptions_pass() -> None:
    with pytest.raises(KeyError), disk_errors(Path("library")):
        raise KeyError("not a disk")
