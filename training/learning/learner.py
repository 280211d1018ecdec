"""The student while it learns: loss, optimiser, averaged weights, and all of it as a state."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mkt_search.models.student import Student, StudentVectors
from mkt_search.settings.config import Stage1Config
from training.data.sources import send
from training.learning.losses import (
    distillation_loss,
    most_positives,
    ranking_on,
    regression_loss,
    two_stream_scores,
)
from training.learning.pca import linear_of
from training.learning.schedule import AveragedWeights, parameter_groups, set_learning_rate

Taught = tuple[Tensor, Tensor]
"""The teacher's vectors (B, D) of B photos, and for which of them there is one (B,)."""


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
        self._learned = learned(student)  # the tensors themselves: they move with every step
        self._average = AveragedWeights(self._learned, config.ema) if config.ema else None

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        return self._labels.device

    def losses(
        self, vectors: StudentVectors, targets: Tensor, taught: Taught | None = None
    ) -> dict[str, Tensor]:
        """Return the loss and its parts for B photos; nothing here waits for the device.

        Args:
            vectors: what the student says of them.
            targets: (B, L), on the CPU, where they come from.
            taught: what the teacher says of them; needed when `distill` is above 0.
        """
        config = self._config
        most = most_positives(targets)
        targets = send(targets, self.device)
        streams = two_stream_scores(self._labels, *vectors, k=config.top_k, kind=config.score)
        rank = ranking_on(
            streams,
            targets,
            on=config.loss_on,
            scale=config.score_scale,
            margin=config.margin,
            absent=config.absent_labels,
            most=most,
        )
        parts, total = {"rank": rank}, rank
        if config.regression:
            distance = regression_loss(*vectors, targets, self._labels)
            parts["regression"] = distance + self.penalty * self._squared_weights()
            total = total + config.regression * parts["regression"]
        if taught is not None:
            goal, known = (send(part, self.device) for part in taught)
            parts["distill"] = distillation_loss(vectors.global_, goal, known, on=config.distill_on)
            total = total + config.distill * parts["distill"]
        return {"loss": total, **(parts if len(parts) > 1 else {})}

    def step(self, loss: Tensor, *, rate: float) -> None:
        """Move the weights down the gradient of the loss at a learning rate."""
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.clip_grad:
            nn.utils.clip_grad_norm_(self.student.parameters(), self._config.clip_grad)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self._learned)

    def train(self) -> None:
        """Put the student into training mode; batch norms of a loaded backbone keep their numbers.

        Their means and variances are part of the function that the heads start from, and a file
        whose norms were folded into its convolutions gives norms that know no others.
        """
        self.student.train()
        if self._config.backbone_weights:
            for module in self.student.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    @property
    def is_finite(self) -> bool:
        """True when every weight that learns is a finite number. Waits for the device."""
        return all(bool(tensor.isfinite().all()) for tensor in self._learned.values())

    @contextlib.contextmanager
    def settled(self) -> Iterator[Student]:
        """Lend the student as it is kept: in evaluation mode, with averaged weights if any."""
        was_training = self.student.training
        own = {name: t.clone() for name, t in self._learned.items()}
        if self._average is not None:
            self.student.load_state_dict(self._average.weights, strict=False)
        try:
            yield self.student.eval()
        finally:
            self.student.load_state_dict(own, strict=False)
            if was_training:
                self.train()

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to take the same next step."""
        return {
            "student": self._learned,
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
    """Return the tensors that training can change: those of every part that is not frozen."""
    still = _frozen(student)
    state: dict[str, Tensor] = student.state_dict()
    return {name: t for name, t in state.items() if name not in still}


def _frozen(student: Student) -> set[str]:
    """Names of the weights that stand still, and of the statistics of norms among them."""
    names: set[str] = set()
    for path, module in student.backbone.named_modules(prefix="backbone"):
        own = dict(module.named_parameters(recurse=False))
        still = {name for name, parameter in own.items() if not parameter.requires_grad}
        if still and len(still) == len(own):
            still |= {name for name, _ in module.named_buffers(recurse=False)}
        names |= {f"{path}.{name}" for name in still}
    return names


def _optimizer(student: Student, config: Stage1Config) -> torch.optim.Optimizer:
    """AdamW in which the heads, and the last norm of a ViT, learn at the full rate.

    Each block before them learns at `layer_decay` of the next one's. Class token and position
    embedding, which timm says are not to decay, do not. Fused: a weight, its gradient and its two
    means are read and written once a step, not once for each operation.
    """
    groups = student.parameter_groups()
    layer = {f"backbone.{name}": depth for depth, names in enumerate(groups) for name in names}
    spared: set[str] = getattr(student.backbone, "no_weight_decay", set)()

    def layer_of(name: str) -> int:
        return len(groups) if name.startswith("backbone.norm.") else layer.get(name, len(groups))

    return torch.optim.AdamW(
        parameter_groups(
            dict(student.named_parameters()),
            layer_of,
            layers=len(groups),
            weight_decay=config.weight_decay,
            layer_decay=config.layer_decay,
            without_decay={f"backbone.{name}" for name in spared},
        ),
        lr=config.lr,
        fused=True,
    )
