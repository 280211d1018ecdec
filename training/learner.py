"""The student while it learns: loss, optimiser, averaged weights, and all of it as a state."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mkt_search.config import Stage1Config
from mkt_search.models.student import Student, StudentVectors
from training.axes import linear_of
from training.losses import ranking_on, regression_loss, two_stream_scores
from training.schedule import AveragedWeights, parameter_groups, set_learning_rate


class Learner:
    """A student that takes steps.

    Args:
        student: frozen as far as it shall be, on its device.
        labels: (L, D), the vectors of the seen labels, on the same device.
        config: loss and optimiser settings.
        penalty: weight of the heads' squared weights in the regression loss, from the ridge start.
    """

    def __init__(
        self, student: Student, labels: Tensor, config: Stage1Config, *, penalty: float = 0.0
    ) -> None:
        self.student = student
        self.penalty = penalty
        self._labels = labels
        self._config = config
        self._optimizer = _optimizer(student, config)
        self._average = AveragedWeights(learned(student), config.ema) if config.ema else None

    def losses(self, vectors: StudentVectors, targets: Tensor) -> dict[str, Tensor]:
        """Return the loss and its parts for vectors of B photos and their targets (B, L)."""
        config = self._config
        streams = two_stream_scores(self._labels, *vectors, k=config.top_k, kind=config.score)
        rank = ranking_on(
            streams,
            targets,
            on=config.loss_on,
            scale=config.score_scale,
            margin=config.margin,
            absent=config.absent_labels,
        )
        if not config.regression:
            return {"loss": rank}
        distance = regression_loss(*vectors, targets, self._labels)
        regression = distance + self.penalty * self._squared_weights()
        total = rank + config.regression * regression
        return {"loss": total, "rank": rank, "regression": regression}

    def step(self, loss: Tensor, *, rate: float) -> None:
        """Move the weights down the gradient of the loss at a learning rate."""
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.clip_grad:
            nn.utils.clip_grad_norm_(self.student.parameters(), self._config.clip_grad)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(learned(self.student))

    @contextlib.contextmanager
    def settled(self) -> Iterator[Student]:
        """Lend the student as it is kept: in evaluation mode, with averaged weights if any."""
        was_training = self.student.training
        own = {name: t.clone() for name, t in learned(self.student).items()}
        if self._average is not None:
            self.student.load_state_dict(self._average.weights, strict=False)
        try:
            yield self.student.eval()
        finally:
            self.student.load_state_dict(own, strict=False)
            self.student.train(was_training)

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to take the same next step."""
        return {
            "student": learned(self.student),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average.state_dict() if self._average else {},
            "penalty": self.penalty,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.student.load_state_dict(state["student"], strict=False)
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self.penalty = float(state["penalty"])

    def _squared_weights(self) -> Tensor:
        heads = self.student.global_head, self.student.local_head  # a shared one counts twice
        linear = [linear_of(head) for head in heads]
        weights = [head.weight for head in linear if isinstance(head, nn.Linear)]
        return sum((w.square().sum() for w in weights), torch.zeros((), device=self._labels.device))


def learned(student: Student) -> dict[str, Tensor]:
    """Return the tensors that training can change: all, or the heads of a frozen backbone."""
    state: dict[str, Tensor] = student.state_dict()
    if any(parameter.requires_grad for parameter in student.backbone.parameters()):
        return state
    return {name: t for name, t in state.items() if not name.startswith("backbone.")}


def _optimizer(student: Student, config: Stage1Config) -> torch.optim.Optimizer:
    groups = student.parameter_groups()
    layer = {f"backbone.{name}": depth for depth, names in enumerate(groups) for name in names}
    return torch.optim.AdamW(
        parameter_groups(
            dict(student.named_parameters()),
            lambda name: layer.get(name, len(groups)),
            layers=len(groups),
            weight_decay=config.weight_decay,
            layer_decay=config.layer_decay,
        ),
        lr=config.lr,
    )
