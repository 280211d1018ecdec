"""Sets of patches are packed as bits or as lists, whichever is shorter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mkt_search.store.segments.members import Members


def sets_in_views(seed: int, patches: int, views: int) -> NDArray[np.bool_]:
    """Sets of a photo with several views among others with one, (n, m, V P)."""
    rng = np.random.default_rng(seed)
    sets = sets_of(seed, patches, min(5, patches))
    view = rng.integers(0, views, sets.shape[:2])
    view[1:] = 0
    view[0, -1] = views - 1
    sets[0, -1, 0] = True
    is_of = view[..., None] == np.arange(views)  # (n, m, V)
    found: NDArray[np.bool_] = (is_of[..., None] & sets[:, :, None]).reshape(*view.shape, -1)
    return found


def sets_of(seed: int, patches: int, most: int, n: int = 3, m: int = 4) -> NDArray[np.bool_]:
    """Sets of up to `most` patches, some of them empty."""
    rng = np.random.default_rng(seed)
    order = np.argsort(rng.random((n, m, patches)), axis=2)
    counts = rng.integers(0, most + 1, (n, m, 1))
    counts[0, 0] = most
    found: NDArray[np.bool_] = order < counts
    return found


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_sets_come_back_as_they_were_packed(seed: int, patches: int, most: int) -> None:
    sets = sets_of(seed, patches, min(most, patches))
    members = Members.pack(sets, patches)
    rows = np.array([2, 0])
    np.testing.assert_array_equal(members.sets(slice(None)), sets)
    np.testing.assert_array_equal(members.sets(rows), sets[rows])
    np.testing.assert_array_equal(members.counts(rows), sets[rows].sum(axis=-1))
    assert members.packed.nbytes <= np.packbits(sets, axis=-1).nbytes


@pytest.mark.parametrize(
    ("patches", "most", "form", "width"),
    [
        (196, 18, "lists", 18),
        (196, 25, "members", 25),
        (49, 8, "members", 7),
        (255, 1, "lists", 1),
        (256, 1, "members", 32),
    ],
)
def test_the_form_is_the_shorter_one(patches: int, most: int, form: str, width: int) -> None:
    members = Members.pack(sets_of(0, patches, most), patches)
    assert (members.form, members.packed.shape) == (form, (3, 4, width))


@pytest.mark.parametrize("shape", [(0, 4, 196), (3, 0, 196), (3, 4, 196)])
def test_empty_sets_are_packed(shape: tuple[int, int, int]) -> None:
    nothing = np.zeros(shape, np.bool_)
    members = Members.pack(nothing, shape[2])
    np.testing.assert_array_equal(members.sets(slice(None)), nothing)
    assert members.m == shape[1] and members.counts(slice(None)).shape == shape[:2]


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(2, 8))
@settings(max_examples=40, deadline=None)
def test_sets_of_several_views_come_back_as_they_were_packed(
    seed: int, patches: int, views: int
) -> None:
    sets = sets_in_views(seed, patches, views)
    members = Members.pack(sets, patches)
    np.testing.assert_array_equal(members.sets(slice(None)), sets)
    np.testing.assert_array_equal(members.sets(np.array([2, 0])), sets[[2, 0]])
    np.testing.assert_array_equal(members.sets(np.array([2])), sets[[2], :, :patches])
    np.testing.assert_array_equal(members.counts(slice(None)), sets.sum(axis=-1))
    plain = sets_of(seed, patches, patches)  # packed as bits
    joined = Members.joined([Members.pack(plain, patches), members, members.of(np.array([1]))])
    found = joined.sets(slice(None))
    np.testing.assert_array_equal(found[:3, :, :patches], plain)
    assert not found[:3, :, patches:].any()
    np.testing.assert_array_equal(found[3:6], sets)
    np.testing.assert_array_equal(found[6:], sets[[1]])
