"""The write lock: a second writer is refused with a sentence. `test_locks.py` has the rest."""

from pathlib import Path

import pytest

from mkt_search.errors import LibraryLocked, StoreError
from mkt_search.store import lock


def test_a_second_writer_is_refused_with_the_command_of_the_first(tmp_path: Path) -> None:
    with lock.write_lock(tmp_path, "mkt index Pictures"):
        refused = r"is being written by `mkt index Pictures` \(pid .*searching works meanwhile"
        with pytest.raises(LibraryLocked, match=refused), lock.write_lock(tmp_path, "mkt tag"):
            pass
        assert "mkt index Pictures" in (lock.writer(tmp_path) or "")


def test_a_library_without_a_writer_can_be_written_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert lock.writer(tmp_path) is None
        with pytest.raises(KeyError), lock.write_lock(tmp_path, "mkt tag"):
            raise KeyError


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / lock.LOCK).mkdir()
    with pytest.raises(StoreError, match="Cannot write to"), lock.write_lock(tmp_path, "mkt tag"):
        pass
