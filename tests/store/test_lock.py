"""One writer at a time, whoever it is and however it ends."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mkt_search.errors import LibraryLocked, StoreError
from mkt_search.store import lock

HOLD = """
import sys, time
from pathlib import Path
from mkt_search.store import lock
with lock.writing(Path(sys.argv[1]), "mkt index Pictures"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_and_told_who_the_first_is(tmp_path: Path, holder) -> None:
    expected = rf"mkt index Pictures.*pid {holder.pid} on .*since"
    with pytest.raises(LibraryLocked, match=expected), lock.writing(tmp_path, "mkt tag"):
        pass
    assert str(holder.pid) in (lock.writer(tmp_path) or "")


def test_the_lock_of_a_killed_writer_is_free_at_once(tmp_path: Path, holder) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert lock.writer(tmp_path) is None
    with lock.writing(tmp_path, "mkt index"):
        assert lock.describe(tmp_path).startswith("`mkt index` (pid ")


def test_an_unreadable_note_is_still_a_sentence(tmp_path: Path) -> None:
    with lock.writing(tmp_path, "mkt index"):
        (tmp_path / lock.NOTE).write_text("{")
        with pytest.raises(LibraryLocked, match="another process"), lock.writing(tmp_path, "b"):
            pass


def test_a_full_disk_does_not_keep_a_writer_out(tmp_path: Path, monkeypatch) -> None:
    """Not even the note fits; `mkt prune` may be the way out."""

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with lock.writing(tmp_path, "mkt prune"):
        assert lock.writer(tmp_path) == "another process"


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / lock.LOCK).mkdir()
    with pytest.raises(StoreError, match="Cannot write to"), lock.writing(tmp_path, "mkt tag"):
        pass
