"""How fast each weight learns: warm-up and cosine, decay over layers; and averaged weights."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def learning_rate(step: int, *, steps: int, warmup: int, peak: float, lowest: float) -> float:
    """Return the rate of a step (from 0): a straight rise to the peak, then half a cosine down."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(steps - warmup, 1)
    return lowest + (peak - lowest) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


def parameter_groups(
    parameters: Mapping[str, nn.Parameter],
    layer_of: Callable[[str], int],
    *,
    layers: int,
    weight_decay: float,
    layer_decay: float,
    without_decay: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Group trainable parameters for AdamW by layer and by whether they decay.

    A layer `i` of `layers` learns at layer_decay ** (layers - i) of the rate (its group's
    `share`); layer `layers` is the heads. Vectors (biases, norms) do not decay, nor does what
    `without_decay` names.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and name not in without_decay
            groups[layer_of(name), decays].append(parameter)
    return [
        {
            "params": members,
            "share": layer_decay ** (layers - layer),
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (layer, decays), members in groups.items()
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]


class AveragedWeights:
    """The running mean of named weights: w = decay w + (1 - decay) new.

    The decay is smaller in the first steps, so that the first weights do not linger.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}
        floats = {name: tensor.is_floating_point() for name, tensor in self.weights.items()}
        self._averaged = [name for name, is_float in floats.items() if is_float]
        self._copied = [name for name, is_float in floats.items() if not is_float]

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Take in the weights of now: on a GPU in a few kernels for all of them together."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        if self._averaged:
            means = [self.weights[name] for name in self._averaged]
            torch._foreach_lerp_(means, [weights[name] for name in self._averaged], 1 - decay)
        for name in self._copied:
            self.weights[name].copy_(weights[name])

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs."""
        return {"steps": self.steps, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.steps = int(state["steps"])
        saved: Mapping[str, Tensor] = state["weights"]
        for name, mean in self.weights.items():
            mean.copy_(saved[name])
