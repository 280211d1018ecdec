"""AdamW with layer-wise rates, and a learning rate with a warm-up and a cosine, both timm's.

- Layer decay: each block learns at `layer_decay` of the rate of the next one.
- Rate: rises linearly from 0 to the peak over the warm-up, then falls along half a cosine, as in
  the code of MKT (utils/lr_sched.py of https://github.com/sunanhe/MKT).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn

from mkt_search.models.student import Student


@dataclass(frozen=True)
class OptimizerSpec:
    """How weights are optimized: AdamW under a warm-up and a cosine.

    Args:
        epochs: passes over the training photos.
        batch_size: photos per step.
        lr: peak learning rate.
        min_lr: learning rate at the end of the cosine.
        warmup_epochs: epochs of rising rate.
        weight_decay: of matrices; biases, norms, class token and position embedding have none.
        layer_decay: rate of a block relative to the next one's.
        clip_grad: largest gradient norm; 0 does not clip.
        ema: decay of the averaged weights; 0 averages nothing.
    """

    epochs: int
    batch_size: int
    lr: float
    min_lr: float = 0.0
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    clip_grad: float = 0.0
    ema: float = 0.0


class WarmupCosine:
    """The learning rates of a run, as functions of the step number alone, so that a run can resume.

    Args:
        optimizers: their groups start with the peak rate, and a group's `lr_scale` multiplies it.
        steps: of the whole run.
        warmup: steps of the linear rise from 0; the step after them has the peak rate.
        lowest: rate at the end of the cosine.
    """

    def __init__(
        self,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        steps: int,
        warmup: int = 0,
        lowest: float = 0.0,
    ) -> None:
        self._warmup = warmup
        self._schedulers = [
            CosineLRScheduler(
                optimizer,
                t_initial=max(steps - warmup, 2),
                lr_min=lowest,
                warmup_t=warmup,
                warmup_prefix=True,
                t_in_epochs=False,
            )
            for optimizer in optimizers
        ]

    def set_rate(self, step: int) -> None:
        """Give every group its rate for a step, counted from 0."""
        for scheduler in self._schedulers:
            scheduler.step_update(step)


def stage1_optimizer(student: Student, spec: OptimizerSpec) -> torch.optim.AdamW:
    """Return AdamW in which the heads and the last norm of a ViT learn at the full rate.

    The fused kernel reads and writes each weight, gradient and moment once per step.
    """
    undecayed: set[str] = getattr(student.backbone, "no_weight_decay", set)()
    groups = param_groups_layer_decay(
        _Layers(student),
        weight_decay=spec.weight_decay,
        no_weight_decay_list={f"backbone.{name}" for name in undecayed},
        layer_decay=spec.layer_decay,
    )
    return torch.optim.AdamW(groups, lr=spec.lr, fused=True)


class _Layers(nn.Module):
    """A student as timm's grouping sees it: the blocks of the backbone, then the heads."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.backbone = student.backbone
        self.global_head = student.global_head
        self.local_head = student.local_head
        blocks = student.parameter_groups()
        self._heads = len(blocks)
        self._layer = {f"backbone.{name}": i for i, names in enumerate(blocks) for name in names}

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return the function from a parameter's name to its layer, as timm asks for it."""
        return self.layer_of

    def layer_of(self, name: str) -> int:
        """Return the layer of a parameter, 0 for the stem."""
        if name.startswith("backbone.norm."):
            return self._heads
        return self._layer.get(name, self._heads)
