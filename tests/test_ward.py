"""Ward's groups against merging one pair at a time, and against numbers on a line."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.ward import ward
from mkt_search.types import Vector


def slow_ward(patches: Vector, m: int) -> list[list[int]]:
    """Merge the two groups of one photo that are cheapest to merge until m are left."""
    groups = [[patch] for patch in range(len(patches))]
    while len(groups) > m:
        pairs = [(i, j) for j in range(len(groups)) for i in range(j)]
        i, j = min(pairs, key=lambda pair: cost(patches, groups[pair[0]], groups[pair[1]]))
        groups[i] += groups.pop(j)
    return sorted(sorted(group) for group in groups)


def cost(patches: Vector, a: list[int], b: list[int]) -> float:
    """What the squares about the mean grow by when two groups become one."""
    return squares(patches, a + b) - squares(patches, a) - squares(patches, b)


def squares(patches: Vector, group: list[int]) -> float:
    own = patches[group].astype(np.float64)
    return float(((own - own.mean(axis=0)) ** 2).sum())


def groups_of(patches: Vector, m: int) -> list[list[list[int]]]:
    """The groups that the fast one makes, of each photo."""
    members = ward(torch.from_numpy(patches), m).numpy()
    return [[np.flatnonzero(row).tolist() for row in rows if row.any()] for rows in members]


def on_a_line(*numbers: float) -> Vector:
    return np.array(numbers, np.float32)[None, :, None]


def test_numbers_on_a_line_merge_with_their_neighbours() -> None:
    line = on_a_line(0, 10, 1, 12, 50)
    assert groups_of(line, 5) == [[[0], [1], [2], [3], [4]]]
    assert groups_of(line, 4) == [[[0, 2], [1], [3], [4]]]
    assert groups_of(line, 3) == [[[0, 2], [1, 3], [4]]]
    assert groups_of(line, 2) == [[[0, 1, 2, 3], [4]]]
    assert groups_of(line, 1) == [[[0, 1, 2, 3, 4]]]


def test_size_counts_as_well_as_distance() -> None:
    # the four at 0 are 3 from the one at 3: 4/5 * 9 = 7.2; that one is 3.5 from the last: 6.1
    assert groups_of(on_a_line(0, 0, 0, 0, 3, 6.5), 2) == [[[0, 1, 2, 3], [4, 5]]]


def test_fewer_patches_than_groups_leave_rows_empty() -> None:
    members = ward(torch.tensor([[[1.0], [5.0]]]), 4)
    assert members.tolist() == [[[True, False], [False, True], [False, False], [False, False]]]


def test_patches_that_are_all_alike_still_make_m_groups() -> None:
    for photo in groups_of(np.ones((3, 20, 4), np.float32), 6):
        assert len(photo) == 6


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.integers(1, 16), st.integers(1, 6), st.integers(0, 999))
def test_the_groups_are_those_of_one_merge_at_a_time(
    patches: int, m: int, dim: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).standard_normal((4, patches, dim)).astype(np.float32)
    assert groups_of(drawn, m) == [slow_ward(photo, m) for photo in drawn]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3), st.integers(0, 999))
def test_every_patch_is_in_one_group_even_among_ties(
    patches: int, m: int, values: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).integers(0, values + 1, (3, patches, 2))
    members = ward(torch.from_numpy(drawn.astype(np.float32)), m)
    assert (members.sum(dim=1) == 1).all()
    assert (members.any(dim=2).sum(dim=1) == min(m, patches)).all()


@pytest.mark.parametrize("m", [1, 5, 16])
def test_a_coarser_grouping_only_joins_groups_of_the_finer_one(m: int) -> None:
    drawn = np.random.default_rng(3).standard_normal((2, 40, 8)).astype(np.float32)
    for coarse, fine in zip(groups_of(drawn, m), groups_of(drawn, m + 4), strict=True):
        assert all(any(set(group) <= set(whole) for whole in coarse) for group in fine)
