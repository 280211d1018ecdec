"""Nothing is lost when `mkt index` is killed, stopped, or runs out of disk space at any time.

The processes and signals are real. Processes are forked from one that has imported torch, so that
dozens of them fit in a test.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.library import Library
from mkt_search.paths import text_to_path
from mkt_search.store import checks
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests.index_process import Commands
from tests.tiny import LABELS, paint, tiny_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

PHOTOS = 75
BATCH_SIZE = 3
FEW_KILLS, MANY_KILLS = 3, 26  # of `make test` and of `make soak`

State = tuple[dict[str, tuple[object, ...]], dict[str, bytes]]
"""By path: everything recorded of a photo; and the bytes of its vectors."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in two folders; some are copies, some are broken."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        paint(folder / f"{number % 2}" / f"{number:03}.png", colour, size=(40, 40))
    for number in (10, 40, 70):
        (folder / "0" / f"{number:03}.png").write_bytes(b"broken")
        copied = (folder / "1" / f"{number + 1:03}.png").read_bytes()
        (folder / "1" / f"{number + 3:03}.png").write_bytes(copied)
    return folder


def new_library(folder: Path) -> Path:
    library = folder / ".mkt"
    Store.create(library).close()
    return library


def index(library: Path, photos: Path, checkpoint: Path) -> list[str]:
    where = ["--library", str(library), "--model", str(checkpoint)]
    return ["index", str(photos), *where, "--batch-size", str(BATCH_SIZE), "--workers", "2"]


def state(library: Path) -> State:
    """Return everything in a library that a user would miss."""
    store = Store.open(library)
    rows = list(store.catalog.photos())
    ids = store.catalog.content_ids_of({row.content for row in rows if row.content})
    active = store.active
    assert active is not None
    found = LocalSnapshot.open(store, active)
    records: dict[str, tuple[object, ...]] = {}
    vectors: dict[str, bytes] = {}
    for row in rows:
        records[row.relative] = (row.content, row.state, row.error, row.size, row.facts)
        if row.state == "indexed":
            stored = found.vectors(np.array([ids[row.content or ""]]))
            vectors[row.relative] = stored.vectors.tobytes() + stored.counts.tobytes()
    store.close()
    return records, vectors


def tags(library: Path) -> set[tuple[Path, str, float | None]]:
    with Library.open(library) as opened:
        opened.tag(LABELS, top=3, threshold=None)
        return {(tag.path, tag.label, tag.score) for tag in opened.tags()}


def check(library: Path) -> int:
    """Verify a library after a kill; return its number of photos."""
    store = Store.open(library)
    assert checks.verify(store) == []
    count = store.catalog.count_indexed()
    store.close()
    return count


def outcomes(library: Path) -> list[str]:
    store = Store.open(library)
    found = [run.outcome for run in store.catalog.runs() if run.kind == "index"]
    store.close()
    return found


@pytest.mark.parametrize(
    "wanted", [FEW_KILLS, pytest.param(MANY_KILLS, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_killed_at_any_time_it_continues_and_ends_as_if_undisturbed(
    commands: Commands, photos: Path, checkpoint: Path, tmp_path: Path, wanted: int
) -> None:
    log = tmp_path / "log"
    undisturbed = new_library(tmp_path / "undisturbed")
    started = time.monotonic()
    assert commands.run(index(undisturbed, photos, checkpoint), log) == 0, log.read_text()
    whole = time.monotonic() - started
    expected, expected_tags = state(undisturbed), tags(undisturbed)
    assert len(expected[1]) == PHOTOS - 3

    chance = random.Random(0)
    kills, seen, round_ = 0, set(), 0
    while kills < wanted:
        library = new_library(tmp_path / f"round {round_}")
        while True:
            code = commands.kill_after(
                chance.uniform(0.1, 0.8) * whole, index(library, photos, checkpoint), log
            )
            seen.add(check(library))
            if code != -signal.SIGKILL:
                break
            kills += 1
        assert code == 0, log.read_text()
        assert state(library) == expected
        assert tags(library) == expected_tags
        assert not list((library / "segments").glob("*.tmp"))
        assert set(outcomes(library)) <= {"interrupted", "done"}  # a kill may come after the end
        assert outcomes(library)[-1] == "done"
        round_ += 1
    assert len(seen) >= min(8, wanted), f"the kills hit too few moments: {sorted(seen)}"


def test_tags_set_between_two_kills_stay(
    commands: Commands, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    library = new_library(tmp_path)
    delay = 0.2
    while not check(library):
        commands.kill_after(delay, index(library, photos, checkpoint), log)
        delay *= 1.5
    first = photos / "0" / "000.png"
    with Library.open(library) as opened:
        opened.add_tag([first], "mine")
    commands.kill_after(delay, index(library, photos, checkpoint), log)
    assert commands.run(index(library, photos, checkpoint), log) == 0, log.read_text()
    with Library.open(library) as opened:
        assert [(tag.path, tag.label) for tag in opened.tags()] == [(first, "mine")]


def test_ctrl_c_ends_between_two_batches_and_reports_what_is_kept(
    commands: Commands, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    log, code = tmp_path / "log", 0
    for attempt in range(10):
        (tmp_path / str(attempt)).mkdir()
        library = new_library(tmp_path / str(attempt))
        pid = commands.start(index(library, photos, checkpoint), log)
        wait_for_photos(library)
        os.kill(pid, signal.SIGINT)
        code = commands.wait(pid)
        if code:
            break  # otherwise the run had come to its last batch before the signal
    assert code == 130
    count = check(library)
    assert "stopping after this batch" in log.read_text()
    assert f"stopped: {count:,} of {PHOTOS} photos are in the library" in log.read_text()
    assert outcomes(library) == ["interrupted"]
    assert commands.run(index(library, photos, checkpoint), log) == 0
    assert "resuming: " in log.read_text()
    assert check(library) == PHOTOS - 3


def wait_for_photos(library: Path) -> None:
    """Wait until a process has committed something."""
    deadline = time.monotonic() + 60
    while not check(library):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_indexer_is_refused_by_name_and_the_first_is_untouched(
    commands: Commands, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    log, second_log = tmp_path / "log", tmp_path / "second"
    library = new_library(tmp_path)
    pid = commands.start(index(library, photos, checkpoint), log)
    wait_for_photos(library)
    os.kill(pid, signal.SIGSTOP)
    assert commands.run(index(library, photos, checkpoint), second_log) == 1
    assert f"pid {pid} on" in second_log.read_text()
    assert second_log.read_text().startswith("Error: ")
    os.kill(pid, signal.SIGCONT)
    assert commands.wait(pid) == 0, log.read_text()
    assert check(library) == PHOTOS - 3
    assert outcomes(library) == ["done"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of very little space, where the user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    call = [mount or "mount", "-t", "tmpfs", "-o", "size=1400k", "tmpfs", str(disk)]
    if mount is None or subprocess.run(call, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_loses_nothing(
    commands: Commands, photos: Path, checkpoint: Path, tmp_path: Path, small_disk: Path
) -> None:
    log = tmp_path / "log"
    library = new_library(small_disk)
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free // 2))
    refused = 0
    while commands.run(index(library, photos, checkpoint), log):
        refused += 1
        assert "is full" in log.read_text().splitlines()[-1], log.read_text()
        assert "Traceback" not in log.read_text()
        check(library)
        filler.write_bytes(bytes(max(0, filler.stat().st_size - 32768)))
        assert refused < 30
    assert refused
    assert check(library) == PHOTOS - 3
    other = new_library(tmp_path / "undisturbed")
    assert commands.run(index(other, photos, checkpoint), log) == 0
    assert state(library) == state(other)


def test_paths_of_a_killed_library_still_lead_to_the_photos(
    commands: Commands, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    library = new_library(tmp_path)
    commands.kill_after(0.5, index(library, photos, checkpoint), tmp_path / "log")
    store = Store.open(library)
    for row in store.catalog.photos():
        assert (row.root / text_to_path(row.relative)).is_file()
    store.close()
