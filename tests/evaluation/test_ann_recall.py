"""Recall of a candidate index: equal to a plain comparison, under filters, and told honestly."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from mkt_search.errors import EvaluationError
from mkt_search.evaluation.ann_recall import RecallReport, RecallRow, measure
from mkt_search.progress import Progress
from mkt_search.search.search import search
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.store.optimize import optimize
from mkt_search.store.prune import prune
from mkt_search.store.records import Batch
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql.database import transaction
from mkt_search.store.sql.schema import CandidateIndexRow
from mkt_search.store.store import Store
from mkt_search.types import PhotoVectors
from tests import made

N = 600
PATCHES = 12
ONE = np.ones(1, np.float32)


@pytest.fixture(scope="module")
def cover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """600 photos of k-set means with a candidate index, for tests that only read."""
    store = made.optimized(tmp_path_factory.mktemp("cover"), N, top_k=1)
    yield store
    store.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Store]:
    """The same with 300 photos, for one test to change."""
    store = made.optimized(tmp_path, 300, top_k=1)
    yield store
    store.close()


def patches(n: int) -> PhotoVectors:
    """Photos of twelve patches, each of which is stored."""
    rng = np.random.default_rng(1)
    local_vectors = rng.standard_normal((n, PATCHES, made.DIM)).astype(np.float32)
    members = np.broadcast_to(np.eye(PATCHES, dtype=np.bool_), (n, PATCHES, PATCHES))
    return PhotoVectors(
        rng.standard_normal((n, made.DIM)).astype(np.float32), local_vectors, members
    )


@pytest.fixture(scope="module")
def every_patch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """600 photos with every patch and a candidate index."""
    root = tmp_path_factory.mktemp("all") / "photos"
    root.mkdir()
    store = Store.create(root.parent / ".mkt")
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(pooling="all", m=PATCHES), model="made")
        photos = [made.photo(root, f"p{i:03}.jpg", row=i) for i in range(N)]
        store.add(made.location(store, root), stored, Batch(photos, (), patches(N)))
        assert optimize(store, stored, policy=made.QUICK) is not None
    yield store
    store.close()


def opened(store: Store) -> LocalSnapshot:
    stored = store.active
    assert stored is not None
    return LocalSnapshot.open(store, stored)


def measured(store: Store, **changes: Any) -> RecallReport:
    given: dict[str, Any] = {"queries": 12, "target": 0.6, **changes}
    return measure(opened(store), **given)


def row(report: RecallReport, k: int, share: float = 1) -> RecallRow:
    [found] = [row for row in report.rows if (row.share, row.k) == (share, k)]
    return found


def plain_best(snapshot: LocalSnapshot, label: np.ndarray, k: int) -> set[int]:
    """The k best photos, each scored by itself: <z, g> and its best patches' mean."""
    scores, ids = [], snapshot.content_ids()
    for content_id, vectors, counts in zip(ids, *snapshot.vectors(ids), strict=True):
        global_score, *local_vectors = vectors @ label
        each = sorted((s for s, n in zip(local_vectors, counts, strict=True) for _ in range(n)))
        scores.append((global_score + np.mean(each[-snapshot.encoding.top_k :]), content_id))
    return {content_id for _, content_id in sorted(scores, reverse=True)[:k]}


def found_by(snapshot: LocalSnapshot, label: np.ndarray, k: int) -> ContentIds:
    return search(snapshot, WeightedQuery(label[None], ONE), k, recall=0.6).content_ids


@pytest.mark.slow
@pytest.mark.parametrize("library", ["cover", "every_patch"])
@pytest.mark.parametrize("k", [10, 100])
def test_recall_is_that_of_a_plain_comparison(
    library: str, k: int, request: pytest.FixtureRequest
) -> None:
    store: Store = request.getfixturevalue(library)
    report, snapshot = measured(store, queries=8), opened(store)
    found = row(report, k)
    shares = []
    for label in report.queries.vectors:
        answer = found_by(snapshot, label, k)
        shares.append(len(plain_best(snapshot, label, k) & set(answer)) / k)
    assert found.recall == pytest.approx(np.mean(shares)) and found.lowest == min(shares)
    assert 0.3 < min(shares) < 1  # or this would compare nothing
    assert found.approximate is not None
    assert (found.approximate.path, found.exact.path) == ("candidates", "exact scan")


def test_more_recall_asked_for_is_more_vectors_and_more_recall(cover: Store) -> None:
    less, more = (row(measured(cover, target=target), 10) for target in (0.5, 0.95))
    assert less.approximate is not None and more.approximate is not None
    assert less.approximate.probes < more.approximate.probes < N * made.M
    assert less.recall < more.recall


def test_filters_leave_their_share_and_none_where_nothing_can_be_missed(cover: Store) -> None:
    report = measured(cover, depths=(5, 10, 100))
    kept = [(row.share, row.photos, row.k) for row in report.rows]
    assert kept == [
        *((1.0, N, 5), (1.0, N, 10), (1.0, N, 100)),
        *((0.1, 60, 5), (0.1, 60, 10), (0.01, 6, 5)),
    ]
    assert [note for note in report.notes if "left out" in note] == [
        "A filter of 10 % leaves 60 of the photos, too few to miss one of the 100 best: left out.",
        "A filter of 1 % leaves 6 of the photos, too few to miss one of the 10 and 100 best: "
        "left out.",
        "A filter of 0.1 % leaves 1 of the photos, too few to miss one of the 5, 10 and 100 best: "
        "left out.",
    ]


def test_few_photos_behind_a_filter_are_all_scored(cover: Store) -> None:
    found = row(measured(cover), 10, 0.1)
    assert found.approximate is not None and found.approximate.path == "every photo"
    assert found.recall == found.lowest == 1


def test_a_seed_measures_the_same_again(cover: Store) -> None:
    def shares(seed: int) -> list[float]:
        return [row.recall for row in measured(cover, seed=seed).rows]

    assert shares(3) == shares(3) != shares(4)


def test_given_labels_are_the_queries(cover: Store) -> None:
    given = np.eye(made.DIM, dtype=np.float32)[:3]
    report = measured(cover, given=given, queries=1)
    assert np.array_equal(report.queries.vectors, given) and report.queries.given == 3


def test_newer_photos_are_counted_and_scored(own: Store) -> None:
    made.fill(own, own.directory.parent / "photos", 7, seed=9, name="q", top_k=1)
    report = measured(own, target=0.5)
    assert (report.photos, report.indexed) == (307, 300)
    way = row(report, 10).approximate
    assert way is not None and (way.path, way.newer) == ("candidates", 7)
    assert 0 < way.p50 <= way.p95 and way.busy > 0


def test_progress_goes_from_one_to_all_searches(cover: Store) -> None:
    events: list[Progress] = []
    measured(cover, queries=3, depths=(10,), progress=events.append)
    counts = [(event.done, event.total) for event in events]
    assert counts == [(i, 12) for i in range(1, 13)]  # two ways, two filters, three queries


# ---- what the numbers are of ----


def test_the_truth_is_named(cover: Store, every_patch: Store) -> None:
    assert measured(every_patch).notes[0].startswith("Every patch is stored (int8)")
    said = measured(cover).notes[0]
    assert said.startswith("Not every patch is stored (cover, 5 local vectors a photo, int8)")


def test_a_recall_that_no_number_of_candidates_reached_is_told(own: Store) -> None:
    with transaction(own.catalog.engine) as session:
        poor = {"10": [[100, 0.9]], "100": [[100, 0.5]]}
        session.execute(update(CandidateIndexRow).values(recall_curve=poor))
    report = measured(own, target=0.8, depths=(100,))
    assert report.notes[1] == (
        "No number of candidates reached a recall of 0.8 when the index was built, so searches for "
        "100 photos are exact."
    )
    way = row(report, 100).approximate
    assert way is not None and way.path == "exact scan"


def test_a_library_without_an_index_is_told_and_the_exact_scan_measured(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 255)
    report = measured(store)
    assert report.notes[1] == (
        "A candidate index needs 256 photos, of which the library has 255: every search is exact."
    )
    made.fill(store, tmp_path / "photos", 1, name="q")
    report = measured(store)
    assert [note for note in report.notes if "`mkt optimize` builds one" in note]
    assert report.indexed == 0 and {row.approximate for row in report.rows} == {None}
    assert {row.recall for row in report.rows} == {1.0} and report.rows[0].exact.p50 > 0


def test_a_recall_of_one_compares_nothing(cover: Store) -> None:
    report = measured(cover, target=1.0)
    assert "With a recall of 1 every search is exact" in report.notes[1]
    assert {row.approximate for row in report.rows} == {None}


def test_a_damaged_index_is_told(own: Store, caplog: pytest.LogCaptureFixture) -> None:
    [file] = own.index_folder.glob("*.pq")
    file.unlink()
    report = measured(own)
    assert "no candidate index that can be used" in report.notes[1] and report.indexed == 0
    assert "is missing" in caplog.text


def test_a_library_whose_photos_all_went_is_a_sentence(own: Store) -> None:
    photos = [photo.id for photo in own.catalog.photos(state="indexed")]
    own.catalog.mark_missing(photos)
    with own.writing("test"):
        prune(own)
    with pytest.raises(EvaluationError, match="holds no photos yet"):
        measured(own)


def test_the_report_as_data_holds_everything(cover: Store) -> None:
    data = measured(cover, queries=4).as_dict()
    assert data["queries"] == {"given": 0, "remembered": 0, "mixed": 4}
    assert data["vectors"] == {"pooling": "cover", "m": 5, "precision": "int8"}
    assert (data["photos"], data["indexed"], data["target"]) == (N, N, 0.6)
    first = data["rows"][0]
    assert first["approximate"]["path"] == "candidates" and 0 < first["recall"] <= 1
