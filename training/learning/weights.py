"""The weights that training changes, as one flat module, and their moving average."""

from collections.abc import Mapping
from typing import Any

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from mkt_search.models.student import Student

EMA_WARMUP_STEPS = 10  # after n steps the decay is at most n / (n + 10)


class TrainableWeights(nn.Module):
    """The tensors of a student that training can change; frozen parts are left out.

    They are the student's own tensors, not copies, and each is there once, also where heads are
    shared. `state_dict` names them as the student does, with "/" in place of ".".
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        saved = student.state_dict().keys() - _frozen_buffers(student)
        for name, parameter in student.named_parameters():
            if parameter.requires_grad:
                self.register_parameter(_flat(name), parameter)
        for name, buffer in student.named_buffers():
            if name in saved:
                self.register_buffer(_flat(name), buffer)

    def is_finite(self) -> bool:
        """Return True when every parameter and buffer is finite. Waits for the device."""
        return all(bool(tensor.isfinite().all()) for tensor in self.state_dict().values())


class AveragedWeights:
    """The exponential moving average of weights: w = decay x w + (1 - decay) x new.

    The decay is smaller in the first steps, so that the initial weights are soon forgotten.
    """

    def __init__(self, weights: TrainableWeights, decay: float) -> None:
        self._weights = weights
        self._steps = 0
        self._average = ModelEmaV3(
            weights,
            decay=decay,
            use_warmup=True,
            warmup_gamma=EMA_WARMUP_STEPS,
            warmup_power=1.0,
        )

    def update(self) -> None:
        """Take in the current weights, on a GPU in a few kernels for all of them."""
        self._steps += 1
        self._average.update(self._weights, step=self._steps + 1)

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, named as in `TrainableWeights.state_dict`."""
        found: dict[str, Tensor] = self._average.module.state_dict()
        return found

    def state(self) -> dict[str, Any]:
        """Return what `load_state` needs."""
        return {"steps": self._steps, "weights": self.weights()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._steps = int(state["steps"])
        self._average.module.load_state_dict(state["weights"])


def interpolated(
    weights: Mapping[str, Tensor], others: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Return (1 - share) weights + share others; whole numbers stay those of `weights`."""
    return {
        name: torch.lerp(own, others[name], share) if own.is_floating_point() else own
        for name, own in weights.items()
    }


def _flat(name: str) -> str:
    """Return a name that torch accepts for a tensor of a flat module."""
    return name.replace(".", "/")


def _frozen_buffers(student: Student) -> set[str]:
    """Return the buffers of norms whose parameters are frozen: their statistics do not move."""
    names: set[str] = set()
    for path, module in student.backbone.named_modules(prefix="backbone"):
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            names |= {f"{path}.{name}" for name, _ in module.named_buffers(recurse=False)}
    return names
