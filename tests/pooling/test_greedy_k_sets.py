"""The cover by k-sets against a plain version, and against two clear objects."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mkt_search.pooling.greedy_k_sets import NOTHING, greedy_k_sets
from mkt_search.types import Vector


def slow_greedy_k_sets(patches: Vector, m: int, k: int) -> NDArray[np.bool_]:
    """Members (m, P) of one photo's sets, (P, D), one candidate at a time."""
    apart = patches - patches.mean(axis=0)
    near = [best_for(patch, apart, k) for patch in apart]
    candidates = near + [best_for(apart[chosen].sum(axis=0), apart, k) for chosen in near]
    values = [apart @ apart[chosen].sum(axis=0) for chosen in candidates]
    members = np.zeros((m, len(patches)), bool)
    covered, first = np.zeros(len(patches)), 0.0
    for row in range(m):
        adds = [np.maximum(value - covered, 0).sum() for value in values]
        chosen = int(np.argmax(adds))
        if row and adds[chosen] <= NOTHING * first:
            break
        first = first or float(adds[chosen])
        members[row, candidates[chosen]] = True
        covered = np.maximum(covered, values[chosen])
    return members


def best_for(direction: Vector, patches: Vector, k: int) -> list[int]:
    """The k patches of largest inner product with a direction."""
    return sorted(np.argsort(-(patches @ direction), kind="stable")[:k].tolist())


def sets_of(patches: Vector, m: int, k: int) -> list[list[int]]:
    members = greedy_k_sets(torch.from_numpy(patches[None]), m, k)[0].numpy()
    return [np.flatnonzero(row).tolist() for row in members]


def test_two_objects_get_a_set_each_and_then_nothing_is_left_to_add() -> None:
    # less their mean (2.5, 1.5) the first three are (2.5, -1.5), the others just the opposite
    patches = np.array([[5, 0]] * 3 + [[0, 3]] * 3, np.float32)
    first, second, *rest = sets_of(patches, 4, 3)
    assert sorted([first, second]) == [[0, 1, 2], [3, 4, 5]]
    assert rest == [[], []]


def test_what_all_patches_share_does_not_count() -> None:
    drawn = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    shared = np.full(6, 3, np.float32)
    assert sets_of(drawn, 5, 4) == sets_of(drawn + shared, 5, 4)


def test_a_photo_of_no_more_than_k_patches_is_one_set() -> None:
    drawn = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    first, *rest = sets_of(drawn, 4, 8)
    assert first == [0, 1, 2]
    assert all(row in ([], [0, 1, 2]) for row in rest)


def test_of_patches_that_are_alike_the_first_are_taken() -> None:
    patches = np.array([[1, 0]] * 4 + [[0, 1]] * 8, np.float32)
    assert sets_of(patches, 2, 3) == [[0, 1, 2], [4, 5, 6]]


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 25), st.integers(1, 12), st.integers(1, 9), st.integers(0, 999))
def test_the_sets_are_those_of_the_plain_version(patches: int, m: int, k: int, seed: int) -> None:
    k = min(k, patches - 1)
    assume(patches != 2 * k)  # a set and all the other patches add the same then
    drawn = np.random.default_rng(seed).standard_normal((patches, 24)).astype(np.float32)
    found = greedy_k_sets(torch.from_numpy(drawn[None]), m, k)[0].numpy()
    np.testing.assert_array_equal(found, slow_greedy_k_sets(drawn.astype(np.float64), m, k))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(1, 12), st.integers(1, 9), st.integers(0, 999))
def test_fewer_sets_are_the_first_of_more(patches: int, m: int, k: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).standard_normal((3, patches, 7)).astype(np.float32)
    many = greedy_k_sets(torch.from_numpy(drawn), m + 3, k)
    assert torch.equal(greedy_k_sets(torch.from_numpy(drawn), m, k), many[:, :m])
    counts = many.sum(dim=2)
    assert ((counts == min(k, patches)) | (counts == 0)).all() and (counts[:, 0] > 0).all()
