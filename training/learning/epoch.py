"""One pass over the training photos. Nothing waits for the device but a look now and then."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mkt_search.datasets.dataset import Rows
from mkt_search.settings.config import Stage1Config
from training.data.sources import Batch, Source
from training.data.task import Task
from training.learning.learner import Learner, Taught
from training.learning.schedule import learning_rate
from training.learning.teacher import TeacherVectors
from training.runs.state import Run, diverged, spoiled

LOOK_EVERY = 16  # steps between two looks at the losses, for which a GPU is waited for


@dataclass(frozen=True)
class Learned:
    """What one pass over the training photos gave; `unreadable` are rows that took no part."""

    losses: dict[str, float]
    rate: float
    unreadable: Rows


def learn(
    config: Stage1Config,
    task: Task,
    learner: Learner,
    source: Source,
    number: int,
    *,
    run: Run,
    teacher: TeacherVectors | None = None,
) -> Learned:
    """Pass once over the training photos; epochs count from 1.

    Raises:
        TrainingError: the loss, or a weight, is not a number; those of the epoch before are kept.
    """
    learner.train()
    targets = torch.from_numpy(task.seen_targets)
    steps = max(len(task.learnable) // config.batch_size, 1)
    tally = Tally(task, run, number)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed * 100_003 + number)  # for dropout inside a backbone
        for step, batch in enumerate(source.train(task.learnable, number)):
            readable = torch.from_numpy(batch.is_readable)[:, None]
            truth = targets[torch.from_numpy(batch.rows)] * readable  # (B, L)
            losses = learner.losses(batch.vectors, truth, taught(batch, teacher))
            rate = _rate(config, (number - 1) * steps + step, steps)
            learner.step(losses["loss"], rate=rate)
            tally.add(batch, losses)
    found = tally.sum_up(rate)
    if not learner.is_finite:  # a last step does that without a loss to show it
        raise spoiled(run, epoch=number)
    return found


def taught(batch: Batch, teacher: TeacherVectors | None) -> Taught | None:
    """Return what the teacher says of a batch, and for which of its photos that counts."""
    if teacher is None:
        return None
    vectors, is_known = teacher.get(batch.rows)
    return vectors, is_known & torch.from_numpy(batch.is_readable)


class Tally:
    """The losses of an epoch, looked at every `LOOK_EVERY` steps: means, and the first that is NaN.

    Args:
        task: whose photos are named when something is wrong.
        run: where the last good epoch is kept.
        epoch: its number, from 1.
    """

    def __init__(self, task: Task, run: Run, epoch: int) -> None:
        self._task = task
        self._run = run
        self._epoch = epoch
        self._names: list[str] = []
        self._seen: list[list[float]] = []
        self._waiting: list[tuple[Rows, Tensor]] = []
        self._unreadable: list[Rows] = []

    def add(self, batch: Batch, losses: dict[str, Tensor]) -> None:
        """Take in the losses of a step. Raises TrainingError for one that was not finite."""
        self._names = list(losses)
        self._waiting.append((batch.rows, torch.stack([t.detach() for t in losses.values()])))
        self._unreadable.append(batch.rows[~batch.is_readable])
        if len(self._waiting) == LOOK_EVERY:
            self._look()

    def sum_up(self, rate: float) -> Learned:
        """Return the means. Raises TrainingError for a loss that was not finite."""
        self._look()
        means = np.mean(np.array(self._seen, np.float64), axis=0)
        unreadable = np.sort(np.concatenate(self._unreadable))
        return Learned(dict(zip(self._names, means.tolist(), strict=True)), rate, unreadable)

    def _look(self) -> None:
        if not self._waiting:
            return
        values = torch.stack([losses for _, losses in self._waiting]).tolist()
        for (rows, _), losses in zip(self._waiting, values, strict=True):
            if not np.isfinite(losses[0]):
                step = len(self._seen) + 1
                raise diverged(self._run, self._task.files(rows), epoch=self._epoch, step=step)
            self._seen.append(losses)
        self._waiting = []


def _rate(config: Stage1Config, step: int, steps_per_epoch: int) -> float:
    return learning_rate(
        step,
        steps=config.epochs * steps_per_epoch,
        warmup=round(config.warmup_epochs * steps_per_epoch),
        peak=config.lr,
        lowest=config.min_lr,
    )
