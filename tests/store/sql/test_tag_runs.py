"""Tag runs on SQLite alone: work in pieces, a full disk, a kill. The contract has the rest."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from mkt_search import Library
from mkt_search.errors import StoreError
from mkt_search.progress import Progress, no_progress
from mkt_search.store.records import TagReport
from mkt_search.store.spill import SpillFile
from mkt_search.store.sql import tag_runs
from mkt_search.store.sql.database import transaction
from mkt_search.store.store import Store
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three photos."""
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 3)
    yield store
    store.close()


def tag(store: Store, labels: list[str], *, pieces_of: int, progress=no_progress) -> TagReport:
    """Tag every photo with every label."""
    contents = np.repeat(np.arange(1, 4), len(labels))
    numbers = np.tile(np.arange(len(labels)), 3)
    with SpillFile(store.directory) as assignments:
        assignments.add(contents, numbers, np.full(len(contents), 0.5))
        with (
            store.run("tag", {"labels": labels}) as run,
            transaction(store.catalog.engine) as session,
        ):
            return tag_runs.apply(
                session,
                assignments,
                labels,
                run.id,
                step="writing tags",
                progress=progress,
                pieces_of=pieces_of,
            )


def current(store: Store) -> set[tuple[str, str]]:
    return {(found.path.name, found.label) for found in store.catalog.tags(source="auto")}


def test_pieces_add_up(store: Store) -> None:
    events: list[Progress] = []
    first = tag(store, ["a", "b"], pieces_of=4, progress=events.append)
    assert [(event.done, event.total) for event in events] == [(4, 6), (6, 6)]
    assert (first.added, first.removed, first.kept) == (6, 0, 0)
    second = tag(store, ["b", "c"], pieces_of=1)
    assert (second.added, second.removed, second.kept) == (3, 0, 3)
    assert second.by_label == {"b": 3, "c": 3}
    assert len(current(store)) == 9


def test_a_full_disk_in_the_middle_leaves_the_tags_as_they_were(store: Store) -> None:
    tag(store, ["a"], pieces_of=500)
    before = current(store)
    labels = [f"label {i}" for i in range(2_000)]

    def limit(connection, _record) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 60}")

    event.listen(store.catalog.engine, "connect", limit)
    store.catalog.engine.dispose()
    with pytest.raises(StoreError, match="disk with the database is full"):
        tag(store, ["a", *labels], pieces_of=500)
    event.remove(store.catalog.engine, "connect", limit)
    store.catalog.engine.dispose()
    assert current(store) == before
    assert [run.outcome for run in store.catalog.runs()] == ["done", "failed"]
    report = tag(store, ["a", *labels], pieces_of=500)
    assert (report.added, report.kept) == (3 * 2_000, 3)


KILLED = """
import os, signal, sys
from mkt_search import Library
def stop(event):
    if event.step == sys.argv[2] and event.done == event.total:
        os.kill(os.getpid(), signal.SIGKILL)
with Library.open(sys.argv[1]) as library:
    library.tag(["red", "green"], top=1, progress=stop)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("step", ["scoring photos", "writing tags"])
def test_a_kill_at_the_end_of_either_step_changes_no_tag(own_library: Path, step: str) -> None:
    with Library.open(own_library) as library:
        library.tag(["red", "blue"], top=1)
        before = set(library.tags())
        files = sorted(path.name for path in library.directory.iterdir())
    ended = subprocess.run([sys.executable, "-c", KILLED, str(own_library), step], check=False)
    assert ended.returncode == -signal.SIGKILL
    with Library.open(own_library) as library:
        assert set(library.tags()) == before
        assert {path.name for path in library.directory.iterdir()} <= {
            *files,
            *("mkt.db-wal", "mkt.db-shm", "writer.json"),
        }
        assert library.verify() == []
        assert library.tag(["red", "green"], top=1).kept > 0
        assert [run.outcome for run in library.runs() if run.kind == "tag"] == [
            "done",
            "interrupted",
            "done",
        ]
