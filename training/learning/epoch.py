"""Train one epoch of stage 1 without host-device syncs, except every `SYNC_EVERY_STEPS` steps."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mkt_search.datasets.dataset import Rows
from mkt_search.display import first_few
from training.data.sources import Batch, Source
from training.data.task import Task
from training.learning.learner import Learner, TeacherBatch
from training.learning.teacher import TeacherVectors
from training.runs.processes import ALONE, Processes

SYNC_EVERY_STEPS = 16  # between two reads of the losses, each of which waits for a GPU


class NotFinite(Exception):
    """A loss or a weight is not a finite number; the text says where."""


@dataclass(frozen=True)
class EpochResult:
    """Mean losses of an epoch, the last learning rate, and the rows that cannot be read."""

    losses: dict[str, float]
    rate: float
    unreadable: Rows


def train_epoch(
    learner: Learner,
    source: Source,
    task: Task,
    epoch: int,
    *,
    steps_per_epoch: int,
    seed: int,
    teacher: TeacherVectors | None = None,
    processes: Processes = ALONE,
    on_step: Callable[[int], None] = lambda steps: None,
) -> EpochResult:
    """Pass once over the training photos.

    Args:
        epoch: from 1.
        seed: that of the run; it decides the dropout of a backbone.
        teacher: for a loss that distills.
        processes: that train together.
        on_step: receives how many steps of the epoch are done; it may raise to stop the run.

    Raises:
        NotFinite: a loss is not a finite number, or a weight is not after the last step.
    """
    learner.train()
    targets = torch.from_numpy(task.seen_targets)  # (N, L)
    losses = LossLog(task.files, epoch, processes)
    rate = 0.0
    with torch.random.fork_rng():
        torch.manual_seed((seed * 100_003 + epoch) * processes.count + processes.number)
        for step, batch in enumerate(source.training_batches(task.trainable, epoch)):
            is_readable = torch.from_numpy(batch.is_readable)  # (B,)
            truth = targets[torch.from_numpy(batch.rows)] * is_readable[:, None]  # (B, L)
            found = learner.losses(batch.vectors, truth, teacher_batch(batch, teacher))
            rate = learner.step(found["loss"], (epoch - 1) * steps_per_epoch + step)
            losses.add(batch, found)
            on_step(step + 1)
    means, unreadable = losses.summarize()
    if not learner.is_finite():  # the last step leaves no loss that shows it
        raise NotFinite(f"the weights are not finite numbers after epoch {epoch}")
    return EpochResult(means, rate, unreadable)


def teacher_batch(batch: Batch, teacher: TeacherVectors | None) -> TeacherBatch | None:
    """Return what the teacher says of a batch, known where both it and the student can read."""
    is_readable = torch.from_numpy(batch.is_readable)
    if teacher is None:
        known = TeacherBatch(is_readable, patches=batch.teacher_patches)
        return None if batch.teacher_patches is None else known
    vectors, is_known = teacher.get(batch.rows)
    return TeacherBatch(is_known & is_readable, vectors, batch.teacher_patches)


class LossLog:
    """The losses of an epoch, left on the device and read every `SYNC_EVERY_STEPS` steps.

    Args:
        files: rows of photos -> their names, for the error.
        epoch: from 1.
        processes: whose shares are summed.
    """

    def __init__(
        self, files: Callable[[Rows], list[str]], epoch: int, processes: Processes = ALONE
    ) -> None:
        self._processes = processes
        self._files = files
        self._epoch = epoch
        self._names: list[str] = []
        self._values: list[list[float]] = []  # read so far, a row for each step
        self._pending: list[tuple[Rows, Tensor]] = []
        self._unreadable: list[Rows] = []

    def add(self, batch: Batch, losses: dict[str, Tensor]) -> None:
        """Record the losses of a step, the total first.

        Raises:
            NotFinite: a loss so far is not a finite number.
        """
        self._names = list(losses)
        values = self._processes.sum(torch.stack([loss.detach() for loss in losses.values()]))
        self._pending.append((batch.rows, values))
        self._unreadable.append(batch.rows[~batch.is_readable])
        if len(self._pending) == SYNC_EVERY_STEPS:
            self._read()

    def summarize(self) -> tuple[dict[str, float], Rows]:
        """Return the mean of each loss, and the rows that cannot be read.

        Raises:
            NotFinite: a loss is not a finite number.
        """
        self._read()
        means = np.mean(np.array(self._values, np.float64), axis=0)
        unreadable = self._processes.all_rows(np.concatenate(self._unreadable))
        return dict(zip(self._names, means.tolist(), strict=True)), unreadable

    def _read(self) -> None:
        if not self._pending:
            return
        values = torch.stack([losses for _, losses in self._pending]).tolist()
        for (rows, _), losses in zip(self._pending, values, strict=True):
            if not np.isfinite(losses[0]):
                step = len(self._values) + 1
                raise NotFinite(
                    f"the loss is not a finite number in epoch {self._epoch}, batch {step} (photos"
                    f" {first_few(self._files(rows))})"
                )
            self._values.append(losses)
        self._pending = []
