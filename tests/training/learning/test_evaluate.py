"""Results during training are those of `mkt evaluate`, from batches of the student's vectors."""

import numpy as np
import pytest
import torch

from mkt_search.evaluation.protocol import results, score_encoded
from mkt_search.models.student import StudentVectors
from mkt_search.types import Encoded
from training.data.sources import Batch
from training.learning.evaluate import score_photos

RNG = np.random.default_rng(0)
GLOBAL = RNG.normal(size=(7, 4)).astype(np.float32)
PATCHES = RNG.normal(size=(7, 5, 4)).astype(np.float32)
LABELS = RNG.normal(size=(6, 4)).astype(np.float32)
TARGETS = RNG.choice([-1, 1], (7, 6)).astype(np.int8)


def batches(size: int, *, unreadable: int = -1) -> list[Batch]:
    starts = range(0, 7, size)
    rows = [np.arange(start, min(start + size, 7)) for start in starts]
    return [
        Batch(
            some,
            some != unreadable,
            StudentVectors(torch.from_numpy(GLOBAL[some]), torch.from_numpy(PATCHES[some])),
        )
        for some in rows
    ]


@pytest.mark.parametrize(("size", "local_share"), [(2, 0.5), (7, 0.5), (3, 0.7)])
def test_scores_are_those_of_an_evaluation(size: int, local_share: float) -> None:
    scored = score_photos(batches(size), TARGETS, LABELS, k=3, local_share=local_share)
    dot, cosine = score_encoded(Encoded(GLOBAL, PATCHES, local_share), LABELS, k=3)
    np.testing.assert_allclose(scored.dot.fused, dot.fused, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scored.cosine.fused, cosine.fused, rtol=1e-4, atol=1e-5)
    assert scored.local_share == local_share
    np.testing.assert_array_equal(scored.targets, TARGETS)


def test_photos_that_cannot_be_read_are_left_out() -> None:
    scored = score_photos(batches(3, unreadable=4), TARGETS, LABELS, k=3)
    assert scored.targets.tolist() == np.delete(TARGETS, 4, axis=0).tolist()
    assert scored.dot.fused.shape == scored.cosine.fused.shape == (6, 6)
    assert results(scored, seen=4)["photos"] == 6
