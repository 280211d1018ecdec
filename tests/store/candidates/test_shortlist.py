"""The shortlist: the photos whose vectors, found by their codes, score best by what is stored."""

from collections.abc import Iterator

import numpy as np
import pytest

from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.candidates import shortlist as shortlists
from mkt_search.store.candidates.shortlist import WeightedSum, shortlist
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made

N = 400


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = made.optimized(tmp_path_factory.mktemp("library"), N, top_k=1)
    yield store
    store.close()


@pytest.fixture
def index(store: Store) -> LocalSnapshot:
    active = store.active
    assert active is not None
    return LocalSnapshot.open(store, active)


def labels(n: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((n, made.DIM)).astype(np.float32)


def one(label: np.ndarray) -> WeightedSum:
    return WeightedSum(label[None], np.ones(1, np.float32))


def test_the_best_owners_of_what_the_sketch_found_are_listed(index: LocalSnapshot) -> None:
    assert index.sketch is not None
    for label in labels(10):
        [(contents, which)] = index.sketch.nearest(label[None], 300, owners=2)
        slots = index.slots_of_contents(contents)
        products = fuse(index.read(slots))[np.arange(len(slots)), which] @ label
        best = {slot: products[slots == slot].max() for slot in set(slots.tolist())}
        expected = sorted(best, key=lambda slot: -best[slot])[: 2 * shortlists.SCORED]
        found = shortlist(index, index.sketch, one(label), k=2, vectors=300)
        assert sorted(found.tolist()) == sorted(expected)
        assert len(best) > len(found)  # or nothing was left out


def test_there_are_at_least_as_many_as_wanted(index: LocalSnapshot) -> None:
    assert index.sketch is not None
    found = shortlist(index, index.sketch, one(labels(1)[0]), k=50, vectors=3)
    assert len(set(found.tolist())) == len(found) >= 50


def test_none_but_those_allowed_are_listed(index: LocalSnapshot) -> None:
    assert index.sketch is not None
    allowed = index.contents[np.arange(0, N, 4)]
    found = shortlist(index, index.sketch, one(labels(1)[0]), k=3, vectors=400, allowed=allowed)
    assert len(found) == 3 * shortlists.SCORED
    assert (found % 4 == 0).all()


def test_several_terms_list_the_photos_of_each_wanted_one_and_of_their_sum(
    index: LocalSnapshot,
) -> None:
    assert index.sketch is not None
    query = WeightedSum(labels(3), np.array([1, 0.5, -1], np.float32))
    total = query.labels[0] + np.float32(0.5) * query.labels[1] - query.labels[2]
    np.testing.assert_allclose(query.directions, [*query.labels[:2], total], rtol=1e-5)
    expected = {
        slot
        for contents, _ in index.sketch.nearest(query.directions, 60, owners=2)
        for slot in index.slots_of_contents(contents).tolist()
    }
    found = shortlist(index, index.sketch, query, k=2, vectors=60)
    assert len(found) == len(set(found.tolist()))
    assert set(found.tolist()) == expected
    allowed = index.contents[np.arange(0, N, 4)]
    few = shortlist(index, index.sketch, query, k=2, vectors=60, allowed=allowed)
    assert len(few) and (few % 4 == 0).all()


@pytest.mark.parametrize(
    ("weights", "form", "has_shortlist"),
    [
        ([1], "one", True),
        ([-1], "one", False),
        ([1, 0.2], "several", True),
        ([1, -1], "unwanted", True),
        ([1, -1.1], "unwanted", False),
        ([-1, -1], "unwanted", False),
    ],
)
def test_a_query_has_a_shortlist_unless_most_of_it_is_unwanted(
    weights: list[float], form: str, has_shortlist: bool
) -> None:
    query = WeightedSum(labels(len(weights)), np.array(weights, np.float32))
    assert (query.terms, query.form) == (len(weights), form)
    assert query.has_shortlist == has_shortlist
