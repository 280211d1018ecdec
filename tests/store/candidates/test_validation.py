"""The curve that is kept with a sketch says what searches with so many vectors will find."""

import numpy as np
import pytest

from mkt_search.progress import no_progress
from mkt_search.search.search import _of_all
from mkt_search.store.ann.pq_index import Ranked
from mkt_search.store.candidates import validation
from mkt_search.store.candidates.calibration_queries import share_found
from mkt_search.store.candidates.shortlist import WeightedSum, shortlist
from mkt_search.store.candidates.validation import measured
from mkt_search.store.recall_curve import QueryKind
from mkt_search.store.snapshot import LocalSnapshot
from tests import made

PHOTOS, LABELS = 500, 12


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LocalSnapshot:
    """A library of 500 photos with a sketch."""
    store = made.optimized(tmp_path_factory.mktemp("library"), PHOTOS)
    assert store.active is not None
    return LocalSnapshot.open(store, store.active)


QUERIES: dict[QueryKind, list[tuple[int, float]]] = {
    "one": [(0, 1.0)],
    "several": [(0, 1.0), (1, 1.0)],
    "unwanted": [(0, 1.0), (1, -1.0)],
}


@pytest.mark.parametrize("form", QUERIES)
@pytest.mark.parametrize("depth", [3, 20])
def test_the_curve_is_that_of_a_search_for_every_number_of_vectors(
    index: LocalSnapshot, form: QueryKind, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain way: a shortlist of its own for every query and number."""
    monkeypatch.setattr(validation, "DEPTHS", (3, 20))
    monkeypatch.setattr(validation, "VECTORS", ((5, 20, 50), (80, 200), (10_000,)))
    monkeypatch.setattr(validation, "ENOUGH", 1.0)
    labels = np.random.default_rng(0).standard_normal((LABELS, made.DIM)).astype(np.float32)
    sketch = index.sketch
    assert sketch is not None and sketch.index.ntotal < 10_000
    curve = measured(index, sketch, np.flatnonzero(index.live), labels, no_progress)
    terms = QUERIES[form]
    plain = []
    for vectors in (v for v in (5, 20, 50, 80, 200) if v >= depth):
        shares = []
        for first in range(0, LABELS, len(terms)):
            chosen = labels[[first + at for at, _ in terms]]
            weights = np.array([weight for _, weight in terms], np.float32)
            best = _of_all(index, chosen, weights, depth, index.live).slots
            query = WeightedSum(chosen, weights)
            found = shortlist(index, sketch, query, k=depth, vectors=vectors)
            shares.append(share_found(best, found))
        plain.append((vectors, np.mean(shares) - np.std(shares) / len(shares) ** 0.5))
    measured_ = curve.recall[form][depth]
    assert [vectors for vectors, _ in measured_] == [v for v, _ in plain][: len(measured_)]
    for (_, recall), (_, expected) in zip(measured_, plain, strict=False):
        assert recall == pytest.approx(expected, abs=0.03)  # of equal codes another may be asked
    assert len(measured_) == len(plain) or measured_[-1][1] >= 1.0
    assert 0 < measured_[0][1] < measured_[-1][1]


def test_more_vectors_count_as_asked_where_they_have_too_few_owners() -> None:
    contents = np.array([4, 4, 4, 7, 9])
    found = Ranked(contents, np.arange(5), ranks=np.array([0, 1, 2, 3, 4]))
    needed = [validation._needed(found, owners=owners) for owners in (1, 2, 3, 4)]
    assert needed == [1, 4, 5, 5]  # the second owner comes fourth, and there is no fourth
    assert [validation._asked(1, count) for count in needed] == [1, 4, 8, 8]
    backwards = Ranked(contents, np.arange(5), ranks=np.array([4, 3, 2, 1, 0]))
    assert validation._needed(backwards, owners=2) == 2
    assert validation._asked(3, 4) == 6


def test_one_label_makes_no_pairs(index: LocalSnapshot) -> None:
    assert index.sketch is not None
    label = np.ones((1, made.DIM), np.float32)
    curve = measured(index, index.sketch, np.flatnonzero(index.live), label, no_progress)
    assert curve.recall["one"][10] and not curve.recall["several"][10]


def test_points_end_where_the_recall_is_enough(index: LocalSnapshot) -> None:
    labels = np.random.default_rng(1).standard_normal((4, made.DIM)).astype(np.float32)
    assert index.sketch is not None
    curve = measured(index, index.sketch, np.flatnonzero(index.live), labels, no_progress)
    for depths in curve.recall.values():
        for depth, points in depths.items():
            assert [v for v, _ in points] == sorted(v for v, _ in points if v >= depth)
            assert all(recall < validation.ENOUGH for _, recall in points[:-1])
