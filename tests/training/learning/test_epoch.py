"""The losses of an epoch: their means, and the first batch whose loss is not finite."""

import numpy as np
import pytest
import torch

from mkt_search.datasets.dataset import Rows
from mkt_search.models.student import StudentVectors
from training.data.sources import Batch
from training.learning.epoch import SYNC_EVERY_STEPS, LossLog, NotFinite, teacher_batch

VECTORS = StudentVectors(torch.zeros(2, 8), torch.zeros(2, 4, 8))


def files(rows: Rows) -> list[str]:
    return [f"{row:03}.png" for row in rows]


def batch(first: int, *readable: bool) -> Batch:
    return Batch(np.array([first, first + 1]), np.array(readable or (True, True)), VECTORS)


def losses(total: float, rank: float = 0.0) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(float(total), requires_grad=True), "rank": torch.tensor(rank)}


def test_means_and_unreadable_photos_are_summarized() -> None:
    log = LossLog(files, 1)
    for number in range(SYNC_EVERY_STEPS + 3):
        log.add(batch(2 * number, number != 1, number != 4), losses(number, 2 * number))
    means, unreadable = log.summarize()
    mean = (SYNC_EVERY_STEPS + 2) / 2
    assert means == {"loss": pytest.approx(mean), "rank": pytest.approx(2 * mean)}
    assert unreadable.tolist() == [2, 9]


@pytest.mark.parametrize(
    "bad", [0, 3, SYNC_EVERY_STEPS - 1, SYNC_EVERY_STEPS, SYNC_EVERY_STEPS + 1]
)
def test_the_first_batch_that_is_not_finite_is_named(bad: int) -> None:
    log = LossLog(files, 2)
    sentence = rf"epoch 2, batch {bad + 1} \(photos 0{2 * bad:02}.png, 0{2 * bad + 1:02}.png\)"
    with pytest.raises(NotFinite, match=sentence):
        for number in range(SYNC_EVERY_STEPS + 2):
            log.add(batch(2 * number), losses(float("nan") if number >= bad else 1.0))
        log.summarize()


def test_the_teacher_counts_only_for_photos_that_both_can_read() -> None:
    class Known:
        def get(self, rows: object) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ones(2, 8), torch.tensor([False, True])

    found = teacher_batch(batch(0, True, True), Known())  # type: ignore[arg-type]
    assert found is not None and found.is_known.tolist() == [False, True]
    found = teacher_batch(batch(0, True, False), Known())  # type: ignore[arg-type]
    assert found is not None and found.is_known.tolist() == [False, False]
    assert teacher_batch(batch(0), None) is None
