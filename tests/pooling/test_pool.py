"""The pooling against a plain version that a reader can follow, and its promises as properties."""

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mkt_search.errors import ModelError
from mkt_search.pooling.pool import pool
from mkt_search.scoring import scale, score, unit
from mkt_search.types import Encoded, Encoding, PhotoVectors, Pooling, Vector
from tests.pooling.test_greedy_k_sets import slow_greedy_k_sets

ENCODING = Encoding("abc", 12, (5, 7), "cover", 6, 4, "int8")


def draw(count: int, encoding: Encoding = ENCODING, *, seed: int = 0) -> Encoded:
    """Photos of a few objects each: patches lie near one of four directions of their photo."""
    rng = np.random.default_rng(seed)
    objects = rng.standard_normal((count, 4, encoding.dim))
    which = rng.integers(0, 4, (count, encoding.patches))
    patches = np.take_along_axis(objects, which[..., None], axis=1)
    patches = patches + 0.4 * rng.standard_normal(patches.shape)
    global_vectors = rng.standard_normal((count, encoding.dim))
    return Encoded(global_vectors.astype(np.float32), patches.astype(np.float32))


def slow_members(patches: Vector, global_vectors: Vector, encoding: Encoding) -> NDArray[np.bool_]:
    """Members (m, P) of one photo's local vectors."""
    if encoding.pooling == "all":
        return np.eye(len(patches), dtype=bool)
    members = np.zeros((encoding.m, len(patches)), bool)
    if encoding.pooling == "topk":
        for row, patch in enumerate(np.argsort(-(patches @ global_vectors))[: encoding.m]):
            members[row, patch] = True
        return members
    return slow_greedy_k_sets(patches.astype(np.float64), encoding.m, encoding.top_k)


def slow_pool(encoded: Encoded, encoding: Encoding) -> PhotoVectors:
    scaled = scale(encoded)
    members = np.stack(
        [
            slow_members(patches, global_vectors, encoding)
            for patches, global_vectors in zip(scaled.patches, scaled.global_vectors, strict=True)
        ]
    )
    local_vectors = np.zeros((*members.shape[:2], encoding.dim), np.float32)
    for photo, rows in enumerate(members):
        for group, row in enumerate(rows):
            if row.any():
                local_vectors[photo, group] = scaled.patches[photo][row].mean(axis=0)
    return PhotoVectors(scaled.global_vectors, local_vectors, members)


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_pooling_is_what_the_plain_version_says(pooling: Any) -> None:
    encoding = replace(ENCODING, pooling=pooling)
    encoded = draw(9)
    found = pool(encoded, encoding)
    expected = slow_pool(encoded, encoding)
    np.testing.assert_array_equal(found.members, expected.members)
    np.testing.assert_allclose(found.local_vectors, expected.local_vectors, atol=1e-6)
    np.testing.assert_array_equal(found.global_vectors, expected.global_vectors)


shapes = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 12), st.integers(1, 9))
KINDS = get_args(Pooling)
kinds = st.sampled_from(KINDS)


@settings(deadline=None, max_examples=60)
@given(shapes, kinds, st.integers(0, 99))
def test_every_local_vector_is_the_mean_of_its_members(
    shape: tuple[int, int, int, int], pooling: Any, seed: int
) -> None:
    rows, columns, m, k = shape
    encoding = replace(ENCODING, grid=(rows, columns), pooling=pooling, m=m, top_k=k)
    encoded = draw(3, encoding, seed=seed)
    patches = scale(encoded).patches
    found = pool(encoded, encoding)
    means = (found.members @ patches) / np.maximum(found.counts, 1)[..., None]
    np.testing.assert_allclose(found.local_vectors, means, atol=1e-6)
    assert found.global_vectors.dtype == found.local_vectors.dtype == np.float32
    assert found.members.shape == (3, rows * columns if pooling == "all" else m, rows * columns)


@settings(deadline=None, max_examples=60)
@given(shapes, st.integers(0, 99))
def test_counts_are_those_of_the_kind(shape: tuple[int, int, int, int], seed: int) -> None:
    rows, columns, m, k = shape
    encoding = replace(ENCODING, grid=(rows, columns), m=m, top_k=k)
    encoded = draw(3, encoding, seed=seed)
    patches = rows * columns
    cover = pool(encoded, replace(encoding, pooling="cover"))
    assert ((cover.counts == min(k, patches)) | (cover.counts == 0)).all()
    assert (cover.counts[:, 0] > 0).all()
    topk = pool(encoded, replace(encoding, pooling="topk"))
    assert (topk.counts == (np.arange(m) < patches)).all()
    assert (pool(encoded, replace(encoding, pooling="all")).counts == 1).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 99), kinds)
def test_a_photo_has_the_same_bits_in_every_batch(size: int, seed: int, pooling: Any) -> None:
    encoding = replace(ENCODING, dim=31, grid=(7, 7), m=16, top_k=8, pooling=pooling)
    encoded = draw(40, encoding, seed=seed)
    whole = pool(encoded, encoding)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(40)[:size]
    part = pool(Encoded(encoded.global_vectors[chosen], encoded.patches[chosen]), encoding)
    np.testing.assert_array_equal(part.local_vectors, whole.local_vectors[chosen])
    np.testing.assert_array_equal(part.global_vectors, whole.global_vectors[chosen])
    np.testing.assert_array_equal(part.members, whole.members[chosen])


@pytest.mark.parametrize("pooling", ["cover", "topk"])
@pytest.mark.parametrize(("grid", "dim"), [((7, 7), 300), ((14, 14), 512)])
def test_the_usual_sizes_have_the_same_bits_in_every_batch(
    grid: tuple[int, int], dim: int, pooling: Any
) -> None:
    encoding = replace(ENCODING, dim=dim, grid=grid, m=16, top_k=8, pooling=pooling)
    encoded = draw(33, encoding)
    whole = pool(encoded, encoding)
    for few in (slice(0, 1), slice(5, 8), slice(20, 33)):
        part = pool(Encoded(encoded.global_vectors[few], encoded.patches[few]), encoding)
        np.testing.assert_array_equal(part.local_vectors, whole.local_vectors[few])
        np.testing.assert_array_equal(part.members, whole.members[few])


def test_scores_of_a_cover_never_exceed_those_of_all_patches_and_come_near() -> None:
    encoding = replace(ENCODING, dim=64, grid=(14, 14), m=16, top_k=18)
    encoded = draw(20, encoding)
    labels = unit(np.random.default_rng(1).standard_normal((50, 64)).astype(np.float32))
    exact = pool(encoded, replace(encoding, pooling="all"))
    true = score(labels, exact.global_vectors, exact.local_vectors, exact.counts, k=18).local_scores
    kept = pool(encoded, encoding)
    found = score(labels, kept.global_vectors, kept.local_vectors, kept.counts, k=18).local_scores
    assert (found <= true + 1e-6).all()
    each = np.einsum("ld,nmd->nlm", labels, kept.local_vectors)
    best = np.where(kept.counts[:, None] > 0, each, -np.inf).max(axis=2)
    assert (found <= best + 1e-6).all()  # the bound that the search relies on
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.97


def test_identical_patches_make_sets_that_all_look_alike() -> None:
    encoded = draw(2)
    same = Encoded(encoded.global_vectors, np.repeat(encoded.patches[:, :1], 35, axis=1))
    for pooling in ("cover", "topk"):
        found = pool(same, replace(ENCODING, pooling=pooling))
        kept = found.counts > 0
        assert kept.any(axis=1).all()
        expected = np.broadcast_to(unit(same.patches[:, :1]) / 2, found.local_vectors.shape)
        np.testing.assert_allclose(found.local_vectors[kept], expected[kept], atol=1e-6)


def test_patches_of_zeros_stay_zeros() -> None:
    zeros = Encoded(np.ones((2, 12), np.float32), np.zeros((2, 35, 12), np.float32))
    for pooling in KINDS:
        found = pool(zeros, replace(ENCODING, pooling=pooling))
        assert not found.local_vectors.any()
        assert np.isfinite(found.global_vectors).all()


@pytest.mark.parametrize("pooling", ["cover", "topk"])
def test_an_empty_batch_pools_to_nothing(pooling: Any) -> None:
    found = pool(draw(0), replace(ENCODING, pooling=pooling))
    assert found.local_vectors.shape == (0, 6, 12) and found.members.shape == (0, 6, 35)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("stream", ["global_vectors", "patches"])
def test_numbers_that_are_none_are_refused_loudly(bad: float, stream: str) -> None:
    encoded = draw(3)
    getattr(encoded, stream)[1, ..., 3] = bad
    with pytest.raises(ModelError, match=r"NaN or infinity for 1 of 3 photos.*float32"):
        pool(encoded, ENCODING)


def test_vectors_of_another_shape_are_refused() -> None:
    with pytest.raises(ModelError, match=r"35 patches of 12 .* 36 of 12"):
        pool(draw(2), replace(ENCODING, grid=(6, 6)))
