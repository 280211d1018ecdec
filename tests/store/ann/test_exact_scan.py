"""The scan: the bound it gives must hold, whatever the coding loses."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.scoring import score
from mkt_search.store.ann.exact_scan import Scan, fuse
from tests import made


def scan_of(rows: np.ndarray, blocks: int = 1) -> Scan:
    scan = Scan(rows.shape[-1])
    for part in np.array_split(rows, blocks):
        peak = np.abs(part[:, :1]).max() + np.abs(part[:, 1:]).max(initial=0)
        scan.add([part], photos=len(part), peak=float(peak))
    return scan


def rows_of(n: int, seed: int, dim: int = made.DIM) -> np.ndarray:
    vectors = made.vectors(n, seed, dim=dim)
    return np.concatenate([vectors.global_vectors[:, None], vectors.local_vectors], axis=1)


@given(
    seed=st.integers(0, 10_000),
    vectors=st.integers(1, 80),
    dim=st.sampled_from([1, 15, 16, 33]),
    blocks=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_no_photo_outside_the_candidates_scores_above_the_bound(
    seed: int, vectors: int, dim: int, blocks: int
) -> None:
    made_ = made.vectors(40, seed, dim=dim)
    rows = np.concatenate([made_.global_vectors[:, None], made_.local_vectors], axis=1)
    label = np.random.default_rng(seed + 1).standard_normal(dim).astype(np.float32)
    live = np.random.default_rng(seed + 2).random(40) < 0.8
    found = scan_of(rows, blocks).best(label, vectors=vectors, is_allowed=live)
    exact = score(
        label[None], made_.global_vectors, made_.local_vectors, made_.counts, k=made.TOP_K
    ).fused[:, 0]
    outside = np.setdiff1d(np.flatnonzero(live), found.rows)
    assert (exact[outside] <= found.bound + 1e-5).all()
    assert live[found.rows].all()
    assert (exact[found.rows] <= found.upper + 1e-5).all()
    assert (np.diff(found.upper) <= 0).all()


def test_the_best_vectors_are_found_for_any_dimension() -> None:
    for dim in (3, 16, 64, 100, 300):
        rows = rows_of(200, 1, dim)
        label = np.random.default_rng(2).standard_normal(dim).astype(np.float32)
        best = (fuse(rows) @ label).max(axis=1)
        found = scan_of(rows).best(label, vectors=60, is_allowed=np.ones(200, np.bool_))
        assert int(best.argmax()) in found.rows
        assert found.bound < best.max()


def test_asking_for_everything_needs_no_bound() -> None:
    rows = rows_of(5, 0)
    found = scan_of(rows).best(rows[0, 0], vectors=10_000, is_allowed=np.ones(5, np.bool_))
    assert found.bound == -np.inf
    assert sorted(found.rows.tolist()) == [0, 1, 2, 3, 4]


def test_photos_that_are_not_allowed_are_never_found() -> None:
    rows = rows_of(6, 0)
    live = np.array([1, 0, 1, 0, 0, 1], np.bool_)
    found = scan_of(rows).best(rows[1, 0], vectors=10_000, is_allowed=live)
    assert sorted(found.rows.tolist()) == [0, 2, 5]


def test_a_scan_of_nothing_finds_nothing() -> None:
    scan = Scan(4)
    scan.add([], photos=0, peak=0.0)
    found = scan.best(np.ones(4, np.float32), vectors=10, is_allowed=np.ones(0, np.bool_))
    assert len(found.rows) == 0
    assert found.bound == -np.inf


@pytest.mark.parametrize("m", [0, 1, 7])
def test_fused_vectors_are_the_sums(m: int) -> None:
    rows = np.arange(2 * (1 + m) * 3, dtype=np.float32).reshape(2, 1 + m, 3)
    fused = fuse(rows)
    assert fused.shape == (2, max(m, 1), 3)
    if m:
        np.testing.assert_array_equal(fused[1, -1], rows[1, 0] + rows[1, -1])


def test_a_scan_that_is_stopped_on_the_way_can_be_made_again() -> None:
    rows = rows_of(130, 0)

    def stopped() -> Iterator[np.ndarray]:
        yield rows[:65]
        raise KeyboardInterrupt

    scan = Scan(made.DIM)
    with pytest.raises(KeyboardInterrupt):
        scan.add(stopped(), photos=12, peak=20.0)
    assert (scan.photos, scan.blocks) == (0, [])
