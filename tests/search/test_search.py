"""The fast search against scoring every photo, on vectors nothing is known of."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkt_search.scoring import score
from mkt_search.search import search
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from tests import made

N = 300


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> LocalSnapshot:
    folder: Path = tmp_path_factory.mktemp("search")
    (folder / "photos").mkdir()
    store = Store.create(folder / ".mkt")
    stored = made.fill(store, folder / "photos", N, precision="int8")
    index = LocalSnapshot.open(store, stored)
    return index


def slow(index: LocalSnapshot, labels, weights, k: int, allowed) -> list[int]:
    """Score every photo in one go and sort."""
    rows, counts = index.read(np.arange(N)), index.counts(np.arange(N))
    fused = score(labels, rows[:, 0], rows[:, 1:], counts, k=made.TOP_K).fused @ weights
    return [int(slot) for slot in np.argsort(-fused, kind="stable") if allowed[slot]][:k]


@given(
    seed=st.integers(0, 10_000),
    k=st.sampled_from([1, 2, 5, 50, 299, 300, 1000]),
    terms=st.integers(1, 3),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
)
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_search_finds_what_scoring_everything_finds(
    index: LocalSnapshot, seed: int, k: int, terms: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.standard_normal((terms, made.DIM)).astype(np.float32)
    weights = rng.choice([-1.0, 0.5, 2.0], terms).astype(np.float32)
    allowed = rng.random(N) < share
    found = search.best(index, labels, weights, k, allowed)
    assert found.slots.tolist() == slow(index, labels, weights, k, allowed)


def test_the_scan_is_what_answers_a_single_label(index: LocalSnapshot, monkeypatch) -> None:
    monkeypatch.setattr(search, "_of_all", lambda *_: pytest.fail("scored every photo"))
    label, one = index.read(np.array([7]))[:, 0], np.ones(1, np.float32)
    found = search.best(index, label, one, 1, index.live)
    assert found.slots.tolist() == slow(index, label, one, 1, index.live)


def test_patch_shares_are_a_mean_over_the_best_patches(index: LocalSnapshot) -> None:
    label = np.ones(made.DIM, np.float32)
    shares = search.patches_used(index, label, [0, 5])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert ((shares > 0).sum(axis=1) >= made.TOP_K).all()
