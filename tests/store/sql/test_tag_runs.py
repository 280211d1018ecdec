"""What a tag run replaces, counted as it streams, against sets of everything before and after."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from mkt_search import Library
from mkt_search.errors import StoreError
from mkt_search.progress import no_progress
from mkt_search.store.spill import SpillFile
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql import runs, tag_runs, tags
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.store import Batch, Store
from tests import made
from tests.command_line import own_library

__all__ = ["own_library"]

Pick = tuple[int, str]  # the number of a content, and a label
PHOTOS = ["a.jpg", "b.jpg", "c.jpg", "copy of a.jpg", "gone.jpg"]
CONTENTS = [0, 1, 2, 0, 3]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = filled(tmp_path)
    yield store
    store.close()


def filled(folder: Path) -> Store:
    """Five photos, of which two have the same bytes and one is missing."""
    root = folder / "photos"
    root.mkdir()
    store = Store.create(folder / ".mkt")
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(), model="made")
        photos = [
            made.photo(root, name, None if i == 3 else min(i, 3), content=f"{CONTENTS[i]:064x}")
            for i, name in enumerate(PHOTOS)
        ]
        store.add(store.place_of(root), stored, Batch(photos, (), made.vectors(4)))
        store.mark_missing([5])
    return store


def run_tags(store: Store, labels: list[str], chosen: list[Pick], *, dry: bool = False):
    """Send picks through a spool into a run, or only count them."""
    with reading(store.engine) as session:
        ids = photo_queries.known_content_ids(session, [f"{content:064x}" for content in range(4)])
    contents = np.array([ids[f"{content:064x}"] for content, _ in chosen], np.int64)
    numbers = np.array([labels.index(label) for _, label in chosen], np.int64)
    with SpillFile(store.directory) as spool:
        spool.add(contents, numbers, np.full(len(chosen), 0.5))
        if dry:
            with reading(store.engine) as session:
                return tag_runs.compare(session, spool, labels)
        with store.run("tag", {"labels": labels}) as run, transaction(store.engine) as session:
            return tag_runs.replace(
                session, spool, labels, run.id, step="writing tags", progress=no_progress
            )


def current(store: Store, source: str = "auto") -> set[tuple[str, str]]:
    with reading(store.engine) as session:
        return {(tag.path.name, tag.label) for tag in tags.listed(session, source=source)}


def photos_of(chosen: list[Pick]) -> set[tuple[str, str]]:
    """What picks of contents mean for indexed photos."""
    here = zip(PHOTOS[:4], CONTENTS[:4], strict=True)
    return {(name, label) for name, content in here for of, label in chosen if of == content}


steps = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcd"), min_size=1, unique=True),
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcd")), unique=True),
    ),
    min_size=1,
    max_size=4,
)


@given(steps=steps)
@settings(max_examples=25, deadline=None)
def test_counts_while_streaming_equal_those_of_whole_sets(tmp_path_factory, steps) -> None:
    """And a dry run tells the same before, and taking a run back restores the tags before it."""
    store = filled(tmp_path_factory.mktemp("runs"))
    tag_runs.PICKS_AT_ONCE, kept_size = 3, tag_runs.PICKS_AT_ONCE
    try:
        with transaction(store.engine) as session:
            assert tags.add_by_hand(session, [1], "a") == 1
        for labels, picks in steps:
            chosen = [pick for pick in picks if pick[1] in labels]
            everything = current(store)
            before = {tag for tag in everything if tag[1] in labels}
            after = photos_of(chosen)
            trial = run_tags(store, labels, chosen, dry=True)
            assert current(store) == everything
            report = run_tags(store, labels, chosen)
            assert (report.added, report.removed, report.kept) == (
                len(after - before),
                len(before - after),
                len(after & before),
            )
            assert report.by_label == {
                label: sum(tag[1] == label for tag in after) for label in labels
            }
            assert report.photos == 4
            assert current(store) == (everything - before) | after
            assert trial.__dict__ | {"run": report.run} == report.__dict__
            assert report.run is not None
            back = _take_back(store, report.run)
            assert (back.added, back.removed, back.kept) == (
                report.removed,
                report.added,
                report.kept,
            )
            assert current(store) == everything
            run_tags(store, labels, chosen)
        assert current(store, "human") == {("a.jpg", "a")}
    finally:
        tag_runs.PICKS_AT_ONCE = kept_size
        store.close()


def _take_back(store: Store, run: int) -> tag_runs.TagReport:
    with transaction(store.engine) as session:
        return tag_runs.take_back(session, run)


def test_a_dry_run_adds_no_label(store: Store) -> None:
    run_tags(store, ["new"], [(0, "new")], dry=True)
    with reading(store.engine) as session:
        assert tags.known_label_ids(session, ["new"]) == {}


def test_a_full_disk_in_the_middle_leaves_the_tags_as_they_were(store: Store, monkeypatch) -> None:
    run_tags(store, ["a"], [(0, "a"), (1, "a")])
    before = current(store)
    monkeypatch.setattr(tag_runs, "PICKS_AT_ONCE", 500)
    labels = [f"label {i}" for i in range(2_000)]

    def limit(connection, _record) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 60}")

    event.listen(store.engine, "connect", limit)
    store.engine.dispose()
    every = [(content, label) for label in labels for content in (0, 1, 2)]
    with pytest.raises(StoreError, match="disk with the database is full"):
        run_tags(store, ["a", *labels], every)
    event.remove(store.engine, "connect", limit)
    store.engine.dispose()
    assert current(store) == before
    with reading(store.engine) as session:
        assert [run.outcome for run in runs.listed(session)] == ["done", "failed"]
        assert tags.known_label_ids(session, labels) == {}
    report = run_tags(store, ["a", *labels], every)
    assert (report.added, report.removed) == (4 * 2_000, 3)


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
