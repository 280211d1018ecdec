"""The shortlist: the photos whose vectors, found by their codes, score best by what is stored."""

from collections.abc import Iterator

import numpy as np
import pytest

from mkt_search.store.ann.exact_scan import fuse
from mkt_search.store.ann.pq_index import OwnedVectors, PQIndex
from mkt_search.store.candidates.shortlist import SHORTLIST_PER_K, oversample, shortlist
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.types import Vector
from tests import made

N = 400


class Indexed:
    """Random photos with an index of them; content ids are 2, 4, 6 ..."""

    def __init__(self) -> None:
        vectors = made.vectors(N)
        stored = np.concatenate([vectors.global_vectors[:, None], vectors.local_vectors], axis=1)
        self.fused = fuse(stored)  # (N, m, D)
        self.ids = 2 + 2 * np.arange(N)
        self.index = PQIndex.train(self.fused.reshape(-1, made.DIM), made.M)
        self.index.add(self.fused, self.ids, np.ones((N, made.M), np.bool_))

    def products(self, found: OwnedVectors, label: Vector) -> Vector:
        products: Vector = self.fused[found.content_ids // 2 - 1, found.local_index] @ label
        return products

    def shortlist(
        self, query: WeightedQuery, *, k: int, probes: int, allowed: ContentIds | None = None
    ) -> ContentIds:
        return shortlist(
            query,
            self.index.probe_for(query.directions, allowed=allowed),
            lambda found: self.products(found, query.labels[0]),
            k=k,
            probes=probes,
            total=len(self.index),
        )


@pytest.fixture(scope="module")
def indexed() -> Iterator[Indexed]:
    yield Indexed()


def labels(n: int) -> Vector:
    return np.random.default_rng(5).standard_normal((n, made.DIM)).astype(np.float32)


def one(label: Vector) -> WeightedQuery:
    return WeightedQuery(label[None], np.ones(1, np.float32))


def test_the_best_owners_of_what_was_probed_are_listed(indexed: Indexed) -> None:
    for label in labels(10):
        [found] = indexed.index.probe_for(label[None])(300)
        products = indexed.products(found, label)
        owners = set(found.content_ids.tolist())
        best = {owner: products[found.content_ids == owner].max() for owner in owners}
        expected = sorted(best, key=lambda owner: -best[owner])[: 2 * SHORTLIST_PER_K]
        listed = indexed.shortlist(one(label), k=2, probes=300)
        assert listed.tolist() == sorted(expected)
        assert len(best) > len(listed)  # or nothing was left out


def test_there_are_at_least_as_many_as_wanted(indexed: Indexed) -> None:
    found = indexed.shortlist(one(labels(1)[0]), k=50, probes=3)
    assert len(set(found.tolist())) == len(found) >= 50
    assert len(indexed.shortlist(one(labels(1)[0]), k=10 * N, probes=3)) == N


def test_only_allowed_photos_are_listed(indexed: Indexed) -> None:
    allowed = indexed.ids[::4]
    found = indexed.shortlist(one(labels(1)[0]), k=3, probes=400, allowed=allowed)
    assert len(found) == 3 * SHORTLIST_PER_K
    assert np.isin(found, allowed).all()


def test_several_terms_list_the_photos_of_each_wanted_one_and_of_their_sum(
    indexed: Indexed,
) -> None:
    query = WeightedQuery(labels(3), np.array([1, 0.5, -1], np.float32))
    total = query.labels[0] + np.float32(0.5) * query.labels[1] - query.labels[2]
    np.testing.assert_allclose(query.directions, [*query.labels[:2], total], rtol=1e-5)
    probed = indexed.index.probe_for(query.directions)(60)
    expected = {content_id for found in probed for content_id in found.content_ids.tolist()}
    found = indexed.shortlist(query, k=2, probes=60)
    assert found.tolist() == sorted(expected)
    allowed = indexed.ids[::4]
    few = indexed.shortlist(query, k=2, probes=60, allowed=allowed)
    assert len(few) and np.isin(few, allowed).all()


def vectors_of(owners: list[int]) -> OwnedVectors:
    """Vectors of some owners, the first one best."""
    order = np.argsort(owners, kind="stable")
    ranks = order  # of the vector that comes at this place when sorted by owner
    return OwnedVectors(np.array(owners)[order], np.zeros(len(owners), np.int64), ranks)


@pytest.mark.parametrize(("owners", "expected"), [(1, 1), (2, 4), (3, 8), (4, 8)])
def test_probes_double_until_there_are_enough_owners(owners: int, expected: int) -> None:
    every, counts = vectors_of([4, 4, 4, 7, 9, 9, 9, 9]), []

    def probe(count: int) -> list[OwnedVectors]:
        counts.append(count)
        return [every.best(count)]

    [found] = oversample(probe, 1, owners=owners, total=8)
    assert len(found.ranks) == expected
    assert counts == [1 << i for i in range(len(counts))] and counts[-1] == expected


def test_probing_ends_with_all_vectors_of_the_index_or_of_a_filter() -> None:
    few, counts = vectors_of([4, 4, 7]), []

    def probe(count: int) -> list[OwnedVectors]:
        counts.append(count)
        return [few.best(count)]

    assert len(oversample(probe, 2, owners=9, total=3)[0].ranks) == 3
    assert counts == [2, 3]
    counts.clear()
    assert len(oversample(probe, 2, owners=9, total=1_000)[0].ranks) == 3
    assert counts == [2, 4]


def test_every_direction_gets_enough_owners() -> None:
    easy, hard = vectors_of([1, 2, 3, 4]), vectors_of([5, 5, 6, 6])
    found = oversample(lambda n: [easy.best(n), hard.best(n)], 2, owners=2, total=4)
    assert [len(one.ranks) for one in found] == [4, 4]


@pytest.mark.parametrize(
    ("weights", "kind", "is_mostly_wanted"),
    [
        ([1], "single", True),
        ([-1], "single", False),
        ([1, 0.2], "multi", True),
        ([1, -1], "negated", True),
        ([1, -1.1], "negated", False),
        ([-1, -1], "negated", False),
    ],
)
def test_the_kind_of_a_query_follows_from_its_weights(
    weights: list[float], kind: str, is_mostly_wanted: bool
) -> None:
    query = WeightedQuery(labels(len(weights)), np.array(weights, np.float32))
    assert (query.terms, query.kind) == (len(weights), kind)
    assert query.is_mostly_wanted == is_mostly_wanted
