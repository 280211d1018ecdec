"""Building a candidate index of a snapshot, in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.progress import Progress, no_progress
from mkt_search.store.candidates.build import build_index
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made

N = 300


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSnapshot]:
    home: Path = tmp_path_factory.mktemp("library")
    (home / "photos").mkdir()
    store = Store.create(home / ".mkt")
    yield LocalSnapshot.open(store, made.fill(store, home / "photos", N))
    store.close()


def test_every_live_photo_is_indexed_without_its_padding(snapshot: LocalSnapshot) -> None:
    built = build_index(snapshot, remembered=[], policy=made.QUICK, progress=no_progress)
    assert built.pq_index.content_ids.tolist() == snapshot.content_ids().tolist()
    counts = snapshot.vectors(snapshot.content_ids()).counts
    assert len(built.pq_index) == N + np.count_nonzero(counts[:, 1:])  # the first one always
    assert set(built.curve.points) == {"single", "multi", "negated"}


def test_more_probes_have_more_recall(snapshot: LocalSnapshot) -> None:
    built = build_index(snapshot, remembered=[], policy=made.QUICK, progress=no_progress)
    for points in (points for depths in built.curve.points.values() for points in depths.values()):
        recalls = [recall for _, recall in points]
        assert recalls == sorted(recalls) and 0 < recalls[-1] <= 1


def test_every_step_reports_its_progress(snapshot: LocalSnapshot) -> None:
    events: list[Progress] = []
    build_index(snapshot, remembered=[], policy=made.QUICK, progress=events.append)
    assert [*dict.fromkeys(event.step for event in events)] == [
        "indexing vectors",
        "measuring recall",
        "probing for candidates",
    ]
    assert all(0 < event.done <= event.total for event in events)
