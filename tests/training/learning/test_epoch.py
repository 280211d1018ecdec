"""The losses of an epoch: their means, and the first that is not finite, named by its photos."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mkt_search.errors import TrainingError
from mkt_search.models.student import StudentVectors
from tests.painted import painted_world
from training.data.sources import Batch
from training.data.task import Task, load_task
from training.learning.epoch import LOOK_EVERY, Tally, taught
from training.runs.state import Run

NOBODY = StudentVectors(torch.zeros(2, 8), torch.zeros(2, 4, 8))


@pytest.fixture
def task(tmp_path: Path) -> Task:
    world = painted_world(tmp_path)
    return load_task(world.data, world.config, lambda sentence: None)


def batch(first: int, *readable: bool) -> Batch:
    return Batch(np.array([first, first + 1]), np.array(readable or (True, True)), NOBODY)


def losses(total: float, rank: float = 0.0) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(float(total), requires_grad=True), "rank": torch.tensor(rank)}


def test_means_and_unreadable_photos_are_summed_up(task: Task, tmp_path: Path) -> None:
    tally = Tally(task, Run(tmp_path / "out", {}), 1)
    for number in range(LOOK_EVERY + 3):
        tally.add(batch(2 * number, number != 1, number != 4), losses(number, 2 * number))
    found = tally.sum_up(0.5)
    mean = (LOOK_EVERY + 2) / 2
    assert found.losses == {"loss": pytest.approx(mean), "rank": pytest.approx(2 * mean)}
    assert found.unreadable.tolist() == [2, 9] and found.rate == 0.5


@pytest.mark.parametrize("bad", [0, 3, LOOK_EVERY - 1, LOOK_EVERY, LOOK_EVERY + 1])
def test_the_first_batch_that_is_not_finite_is_named(task: Task, tmp_path: Path, bad: int) -> None:
    tally = Tally(task, Run(tmp_path / "out", {}), 2)
    sentence = rf"epoch 2, batch {bad + 1} \(photos 0{2 * bad:02}.png, 0{2 * bad + 1:02}.png\)"
    with pytest.raises(TrainingError, match=sentence):
        for number in range(LOOK_EVERY + 2):
            tally.add(batch(2 * number), losses(float("nan") if number >= bad else 1.0))
        tally.sum_up(0.1)


def test_nothing_is_taught_of_photos_that_either_cannot_read() -> None:
    class Known:
        def get(self, rows: object) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.ones(2, 8), torch.tensor([False, True])

    found = taught(batch(0, True, True), Known())  # type: ignore[arg-type]
    assert found is not None and found[1].tolist() == [False, True]
    found = taught(batch(0, True, False), Known())  # type: ignore[arg-type]
    assert found is not None and found[1].tolist() == [False, False]
    assert taught(batch(0), None) is None
