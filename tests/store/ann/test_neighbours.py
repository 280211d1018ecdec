"""The nearest of some vectors."""

import numpy as np

from mkt_search.store.ann.neighbours import Neighbours


def test_the_nearest_vectors_come_first() -> None:
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((2, 60, 7)).astype(np.float32)
    apart = np.linalg.norm(queries[:, None] - vectors, axis=2)
    found = Neighbours(vectors).nearest(queries, 5)
    assert np.array_equal(found, np.argsort(apart, axis=1)[:, :5])


def test_there_are_no_more_neighbours_than_vectors() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert Neighbours(vectors).nearest(vectors[:1], 10).shape == (1, 3)
