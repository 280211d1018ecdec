"""The pooling methods that only the benchmarks use run and score as documented."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mkt_search.scoring import fuse_over_labels, score, unit
from mkt_search.types import Encoded, Vector

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
GRID, M, K = (5, 7), 6, 4


@pytest.fixture
def methods(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`benchmarks/pooling_methods.py`."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import pooling_methods  # type: ignore[import-not-found]

    return pooling_methods  # type: ignore[no-any-return]


def draw(count: int, seed: int = 0) -> Encoded:
    rng = np.random.default_rng(seed)
    return Encoded(
        unit(rng.standard_normal((count, 12)).astype(np.float32)),
        unit(rng.standard_normal((count, 35, 12)).astype(np.float32)),
    )


def test_every_method_pools(methods: ModuleType) -> None:
    scaled = draw(3)
    for name, method in methods.METHODS.items():
        pooled = method(scaled, GRID, M, K)
        vectors = pooled.vectors
        assert len(vectors) == 3 and np.isfinite(vectors.local_vectors).all(), name
        means = (vectors.members @ scaled.patches) / np.maximum(vectors.counts, 1)[..., None]
        if name not in ("ward, means pushed outwards", "mean + m axes"):
            np.testing.assert_allclose(vectors.local_vectors, means, atol=1e-6, err_msg=name)
    for name in ("centroids", "ward"):
        assert (methods.METHODS[name](scaled, GRID, M, K).vectors.members.sum(axis=1) == 1).all()
    counts = methods.METHODS["kset"](scaled, GRID, M, K).vectors.counts
    assert np.isin(counts, (0, K)).all()


def test_mean_of_the_best_counts_each_vector_once_per_patch(methods: ModuleType) -> None:
    rng = np.random.default_rng(0)
    similarities = rng.standard_normal((4, 6, 3)).astype(np.float32)
    counts = rng.integers(0, 4, (4, 6))
    counts[1] = 0
    found = methods.mean_of_best(similarities, counts, 5)
    for photo in range(4):
        for label in range(3):
            values = np.sort(np.repeat(similarities[photo, :, label], counts[photo]))[::-1][:5]
            expected = values.mean() if len(values) else 0
            assert found[photo, label] == pytest.approx(expected, abs=1e-6)


def test_the_vocabulary_scale_is_the_papers_fusion_for_its_own_labels(methods: ModuleType) -> None:
    encoded, labels = draw(3), draw(8, seed=1).global_vectors
    ones = np.ones((3, 35), np.int64)
    raw = score(labels, encoded.global_vectors, encoded.patches, ones, k=K)
    scaled = methods.over_vocabulary(encoded, labels, K)
    stored = score(labels, scaled.global_vectors, scaled.patches, ones, k=K)
    np.testing.assert_allclose(stored.fused, fuse_over_labels(raw).fused, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("m", [1, 4, 9, 20])
def test_wards_groups_are_those_of_one_merge_at_a_time(methods: ModuleType, m: int) -> None:
    patches = np.random.default_rng(m).standard_normal((4, 14, 3)).astype(np.float32)
    members = methods.ward(torch.from_numpy(patches), m).numpy()
    for photo, rows in zip(patches, members, strict=True):
        groups = [np.flatnonzero(row).tolist() for row in rows if row.any()]
        assert groups == slow_ward(photo, m)


def slow_ward(patches: Vector, m: int) -> list[list[int]]:
    """Merge the two groups of one photo that are cheapest to merge until m are left."""
    groups = [[patch] for patch in range(len(patches))]
    while len(groups) > m:
        pairs = [(i, j) for j in range(len(groups)) for i in range(j)]
        i, j = min(pairs, key=lambda pair: cost(patches, groups[pair[0]], groups[pair[1]]))
        groups[i] += groups.pop(j)
    return sorted(sorted(group) for group in groups)


def cost(patches: Vector, a: list[int], b: list[int]) -> float:
    """Return by how much the squares about the mean grow when two groups merge."""
    return squares(patches, a + b) - squares(patches, a) - squares(patches, b)


def squares(patches: Vector, group: list[int]) -> float:
    own = patches[group].astype(np.float64)
    return float(((own - own.mean(axis=0)) ** 2).sum())
