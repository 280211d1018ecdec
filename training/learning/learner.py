"""The student while it learns: loss, optimizer, averaged weights, and all of it as a state."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mkt_search.errors import TrainingError
from mkt_search.models.student import Student, StudentVectors
from training.data.sources import to_device
from training.learning.losses import (
    LossSpec,
    count_max_positives,
    distillation_loss,
    patch_distillation_loss,
    ranking_loss_of,
    regression_loss,
    two_stream_scores,
)
from training.learning.pca import trainable_layer
from training.learning.schedule import OptimizerSpec, WarmupCosine, stage1_optimizer
from training.learning.weights import AveragedWeights, TrainableWeights, interpolated
from training.runs.processes import ALONE, Processes


class TeacherBatch(NamedTuple):
    """What the teacher says of B photos, and of which of them (B,).

    `vectors` (B, D) and `patches` (B, P, D) are None where the loss does not ask for them.
    """

    is_known: Tensor
    vectors: Tensor | None = None
    patches: Tensor | None = None


class Learner:
    """A student, its loss and its optimizer.

    Args:
        student: frozen as far as it shall be, on its device.
        labels: (L, D), the vectors of the seen labels, on the same device.
        loss: the loss.
        optimizer: how weights are optimized.
        steps_per_epoch: for the learning rate.
        penalty: weight of the heads' squared weights in the regression loss, from the ridge start.
        fixed_norms: keep the statistics of the backbone's batch norms. For loaded weights: they
            belong to the function that the heads start from, and weights whose norms were folded
            into convolutions carry placeholder statistics.
        keeps_start: keep the weights before the first step, for `start_share`.
        processes: that train together; each gives its part of a batch.

    Attributes:
        start_share: share of the weights before the first step in `evaluation_weights`.

    Raises:
        TrainingError: several processes and batch norms that learn, whose statistics each would
            take from its own part of a batch.
    """

    def __init__(
        self,
        student: Student,
        labels: Tensor,
        loss: LossSpec,
        optimizer: OptimizerSpec,
        *,
        steps_per_epoch: int,
        penalty: float = 0.0,
        fixed_norms: bool = False,
        keeps_start: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        if processes.count > 1 and not fixed_norms and _has_learning_norms(student):
            raise TrainingError(
                "batch norms that learn their statistics cannot train in several processes; give"
                " --backbone-weights, freeze the backbone, or start one process."
            )
        self._processes = processes
        self.student = student
        self.penalty = penalty
        self.optimizer = stage1_optimizer(student, optimizer)
        self._labels = labels
        self._loss = loss
        self._clip_grad = optimizer.clip_grad
        self._fixed_norms = fixed_norms
        self._weights = TrainableWeights(student)
        self._average = AveragedWeights(self._weights, optimizer.ema) if optimizer.ema else None
        self.start_share = 0.0
        self._start = self._copied() if keeps_start else {}
        self._schedule = WarmupCosine(
            [self.optimizer],
            steps=optimizer.epochs * steps_per_epoch,
            warmup=round(optimizer.warmup_epochs * steps_per_epoch),
            lowest=optimizer.min_lr,
        )

    @property
    def device(self) -> torch.device:
        """The student's device."""
        return self._labels.device

    def losses(
        self, vectors: StudentVectors, targets: Tensor, teacher: TeacherBatch | None = None
    ) -> dict[str, Tensor]:
        """Return the loss of B photos and, where it has several, its parts, without a device sync.

        Of several processes each returns its share; the loss is their sum.

        Args:
            vectors: the student's vectors of the photos.
            targets: (B, L), on the CPU.
            teacher: what the teacher says of the photos; needed when the loss distills.
        """
        spec, own = self._loss, self._processes
        max_positives = count_max_positives(targets)
        targets = to_device(targets, self.device)
        streams = two_stream_scores(self._labels, *vectors, k=spec.k, kind=spec.ranking.score)
        rank = ranking_loss_of(
            streams, targets, spec.ranking, max_positives=max_positives, processes=own
        )
        parts, total = {"rank": rank}, rank
        if spec.regression:
            distance = regression_loss(
                *vectors, targets, self._labels, on=spec.ranking.on, processes=own
            )
            shrinkage = self.penalty * self._squared_weights()
            parts["regression"] = distance + shrinkage / own.count
            total = total + spec.regression * parts["regression"]
        if teacher is not None:
            is_known = to_device(teacher.is_known, self.device)
            if teacher.vectors is not None:
                goal = to_device(teacher.vectors, self.device)
                parts["distill"] = distillation_loss(
                    vectors[0], goal, is_known, on=spec.distill_on, processes=own
                )
                total = total + spec.distill * parts["distill"]
            if teacher.patches is not None:
                parts["patches"] = patch_distillation_loss(
                    vectors[1], teacher.patches, is_known, processes=own
                )
                total = total + spec.distill_patches * parts["patches"]
        return {"loss": total, **(parts if len(parts) > 1 else {})}

    def step(self, loss: Tensor, number: int) -> float:
        """Take step `number` of the run, counted from 0, down the gradient of the loss.

        Returns:
            The learning rate of the heads.
        """
        self._schedule.set_rate(number)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.add_gradients(self.student.parameters())
        if self._clip_grad:
            nn.utils.clip_grad_norm_(self.student.parameters(), self._clip_grad)
        self.optimizer.step()
        if self._average is not None:
            self._average.update()
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def train(self) -> None:
        """Put the student into training mode, except for frozen parts and fixed norms."""
        self.student.train()
        if self._fixed_norms:
            for module in self.student.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def is_finite(self) -> bool:
        """Return True when every trainable weight is finite. Waits for the device."""
        return self._weights.is_finite()

    @contextlib.contextmanager
    def evaluation_weights(self) -> Iterator[Student]:
        """Lend the student in evaluation mode.

        It has its averaged weights if there are any, and the start's share in them.
        """
        was_training = self.student.training
        own: dict[str, Tensor] = {}
        if self._average is not None or self.start_share:
            own = self._copied()
            lent = self._average.weights() if self._average is not None else own
            self._weights.load_state_dict(
                interpolated(lent, self._start, self.start_share) if self.start_share else lent
            )
        try:
            yield self.student.eval()
        finally:
            self._weights.load_state_dict(own, strict=bool(own))
            if was_training:
                self.train()

    def state(self) -> dict[str, Any]:
        """Return everything that a later process needs to take the same next step."""
        return {
            "student": self._weights.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self._average.state() if self._average else {},
            "penalty": self.penalty,
            "start": self._start,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._weights.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state(state["average"])
        self.penalty = float(state["penalty"])
        self._start = {name: own.to(self.device) for name, own in state["start"].items()}

    def _copied(self) -> dict[str, Tensor]:
        """Return a copy of the weights."""
        return {name: tensor.clone() for name, tensor in self._weights.state_dict().items()}

    def _squared_weights(self) -> Tensor:
        heads = {"global": self.student.global_head, "local": self.student.local_head}
        if self._loss.ranking.on in heads:  # one stream learns
            heads = {self._loss.ranking.on: heads[self._loss.ranking.on]}
        layers = [trainable_layer(head) for head in heads.values()]  # a shared one counts twice
        weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear)]
        return sum((w.square().sum() for w in weights), torch.zeros((), device=self._labels.device))


def _has_learning_norms(student: Student) -> bool:
    """Return True when the backbone has batch norms that are not frozen."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm)
        and any(parameter.requires_grad for parameter in module.parameters())
        for module in student.backbone.modules()
    )
