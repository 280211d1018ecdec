"""The network against numpy's sort."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.sorting import network, sort_planes


@pytest.mark.parametrize("length", range(1, 12))
def test_a_network_sorts_every_list_of_zeros_and_ones(length: int) -> None:
    """And so, by the zero-one principle, every list."""
    lists = np.array(list(product([0.0, 1.0], repeat=length)))
    found = np.stack(sort_planes(lists.T.copy()), axis=1)
    np.testing.assert_array_equal(found, -np.sort(-lists, axis=1))


@given(length=st.integers(1, 200), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_planes_are_sorted_as_numpy_sorts(length: int, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(-9, 9, (length, 2, 3)).astype(np.float64)
    expected = -np.sort(-planes, axis=0)
    np.testing.assert_array_equal(np.stack(sort_planes(planes)), expected)


def test_sixteen_places_take_the_pairs_of_the_paper() -> None:
    assert (len(network(4)), len(network(16))) == (5, 63)
