"""Locks between processes: one holder at a time, free as soon as it is gone."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mkt_search.locks import LockHeld, describe_holder, hold, holder

HOLD = """
import sys
from pathlib import Path
from mkt_search.locks import hold
with hold(Path(sys.argv[1]), "mkt index Pictures"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `tmp_path / "a.lock"` until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "a.lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_holder_is_refused_with_a_description_of_the_first(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    expected = rf"`mkt index Pictures` \(pid {other.pid} on .*, since "
    with pytest.raises(LockHeld, match=expected), hold(tmp_path / "a.lock", "mkt tag"):
        pass
    assert str(other.pid) in (holder(tmp_path / "a.lock") or "")


@pytest.mark.slow
def test_asking_for_the_holder_makes_no_one_fail(tmp_path: Path) -> None:
    path, is_done = tmp_path / "a.lock", threading.Event()

    def ask() -> None:
        while not is_done.is_set():
            holder(path)

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        for _ in range(15):
            with hold(path, "mkt tag"):
                assert holder(path) is not None
        is_done.set()
        for one in asking:
            one.result()
    assert holder(path) is None


def test_lock_of_a_killed_holder_is_free(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    other.kill()
    other.wait()
    assert holder(tmp_path / "a.lock") is None
    with hold(tmp_path / "a.lock", "mkt tag"):
        assert describe_holder(tmp_path / "a.lock").startswith("`mkt tag` (pid ")
    assert not (tmp_path / "a.json").exists()


def test_waiting_ends_when_the_holder_is_done(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    assert other.stdin is not None
    threading.Timer(0.1, other.stdin.close).start()
    with hold(tmp_path / "a.lock", "mkt tag", wait=True):
        assert other.wait() == 0


def test_unreadable_note_describes_another_process(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(LockHeld, match=r"^another process$"), hold(tmp_path / "a.lock", "mkt tag"):
        pass


def test_full_disk_keeps_no_one_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with hold(tmp_path / "a.lock", "mkt prune"):
        assert holder(tmp_path / "a.lock") == "another process"


def test_folder_in_place_of_the_lock_file_is_the_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "a.lock").mkdir()
    with pytest.raises(OSError), hold(tmp_path / "a.lock", "mkt tag"):
        pass
