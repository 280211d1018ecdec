"""A panorama scores as the best of its views, and is pooled as if it were alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.pooling.pool import pool
from mkt_search.scoring import mean_of_views, score, unit
from mkt_search.types import Encoded, Encoding, PhotoVectors, Vector
from tests.pooling.test_pool import draw

ENCODING = Encoding("abc", 12, (5, 7), "cover", 12, 4, "int8")
LABELS = unit(np.random.default_rng(1).standard_normal((20, 12)).astype(np.float32))


def rows(encoded: Encoded, start: int, end: int) -> Encoded:
    return Encoded(encoded.global_vectors[start:end], encoded.patches[start:end])


def scores(vectors: PhotoVectors) -> Vector:
    """The fused score (n, L) of every label."""
    parts = (vectors.global_vectors, vectors.local_vectors, vectors.counts)
    return score(LABELS, *parts, k=ENCODING.top_k).fused


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 8), st.integers(0, 99), st.sampled_from([0.5, 0.7]))
def test_a_panorama_scores_as_the_best_of_its_views(
    views: int, seed: int, local_share: float
) -> None:
    encoded = replace(draw(views, ENCODING, seed=seed), local_share=local_share)
    panorama = pool(encoded, ENCODING, views=[views])
    share = -(-ENCODING.m // views)
    of_views = pool(encoded, Encoding("abc", 12, (5, 7), "cover", share, 4, "int8"))
    best = scores(of_views).max(axis=0)
    assert (scores(panorama)[0] <= best + 1e-6).all()
    if views * share == ENCODING.m:  # nothing was left out
        np.testing.assert_allclose(scores(panorama)[0], best, atol=1e-6)
    expected = (1 - local_share) * mean_of_views(encoded.global_vectors)
    np.testing.assert_allclose(panorama.global_vectors[0], expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["cover", "topk", "all"])
def test_each_local_vector_is_of_one_view_and_every_view_has_its_share(pooling: Any) -> None:
    m = 35 if pooling == "all" else 10
    encoding = Encoding("abc", 12, (5, 7), pooling, m, 4, "int8")
    panorama = pool(draw(3, encoding), encoding, views=[3])
    assert panorama.local_vectors.shape == (1, m, 12)
    of_view = panorama.members.reshape(m, 3, 35).sum(axis=2)  # (m, V) patches
    assert ((of_view > 0).sum(axis=1) == 1).all()
    assert set((of_view > 0).sum(axis=0)) <= {m // 3, m // 3 + 1}
    assert set(of_view.max(axis=1)) == {4 if pooling == "cover" else 1}


def test_photos_beside_a_panorama_are_what_they_are_without_it() -> None:
    encoded = draw(7, ENCODING)
    mixed = pool(encoded, ENCODING, views=[1, 1, 4, 1])
    for photo, (start, end) in enumerate([(0, 1), (1, 2), (2, 6), (6, 7)]):
        alone = pool(rows(encoded, start, end), ENCODING, views=[end - start])
        np.testing.assert_array_equal(mixed.global_vectors[photo], alone.global_vectors[0])
        np.testing.assert_array_equal(mixed.local_vectors[photo], alone.local_vectors[0])
        width = alone.members.shape[2]
        np.testing.assert_array_equal(mixed.members[photo, :, :width], alone.members[0])
        assert not mixed.members[photo, :, width:].any()


def test_fewer_local_vectors_than_views_are_of_views_spread_over_the_panorama() -> None:
    encoding = Encoding("abc", 12, (5, 7), "cover", 3, 4, "int8")
    panorama = pool(draw(7, encoding), encoding, views=[7])
    of_view = panorama.members.reshape(3, 7, 35).any(axis=2)
    assert np.argwhere(of_view)[:, 1].tolist() == [0, 3, 6]


def test_views_of_one_colour_leave_padding_at_the_end() -> None:
    encoded = draw(3, ENCODING)
    same = Encoded(encoded.global_vectors, np.repeat(encoded.patches[:, :1], 35, axis=1))
    panorama = pool(same, ENCODING, views=[3])
    real = panorama.counts[0] > 0
    assert real[:3].all() and (np.diff(real.astype(int)) <= 0).all()
    assert not panorama.local_vectors[0, ~real].any()
