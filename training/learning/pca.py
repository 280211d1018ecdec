"""Heads that see a backbone's features along their main axes only.

Most directions of a backbone's features hardly vary; weights learned along them fit noise, and an
optimiser that takes steps of one size in each direction spends its steps there. Folded back, such a
head is the plain linear head of a `Student`, so a checkpoint knows nothing of it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mkt_search.errors import TrainingError
from mkt_search.models.student import Student
from training.learning.ridge import Moments


class AxesHead(nn.Module):
    """A linear head on (x - mean) @ axes: (..., C) -> (..., A) -> (..., D).

    Args:
        mean: (C,).
        axes: (C, A), scaled so that features vary by about 1 along them.
        linear: A -> D, what learns.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, mean: Tensor, axes: Tensor, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("axes", axes)
        self.linear = linear

    def forward(self, features: Tensor) -> Tensor:
        """Apply the head."""
        projected: Tensor = self.linear((features - self.mean) @ self.axes)
        return projected

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight (D, C) and bias (D,) of the linear head that gives the same."""
        weight = self.linear.weight @ self.axes.T
        return weight, self.linear.bias - weight @ self.mean


def main_axes(by_cls: Moments, by_patch: Moments, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean (C,) of cls and the `count` main axes (C, A) of cls and patches together.

    They are scaled alike, so that the mean variance of cls along them is 1.
    """
    channels = len(by_cls.x)
    if not 0 < count <= channels:
        raise TrainingError(
            f"--feature-dim is {count}; this backbone has {channels} channels: take at most "
            f"{channels}, or 0 for all."
        )
    _, directions = torch.linalg.eigh(by_cls.covariance + by_patch.covariance)
    axes = directions[:, -count:]
    spread = (axes.T @ by_cls.covariance @ axes).trace() / count
    return (by_cls.x / by_cls.n).float(), (axes / spread.clamp_min(1e-12).sqrt()).float()


def put_on_axes(student: Student, mean: Tensor, axes: Tensor) -> None:
    """Give the student fresh heads that see its features along the axes; shared stay shared."""
    first, second = student.global_head, student.local_head
    if not isinstance(first, nn.Linear) or not isinstance(second, nn.Linear):
        raise TrainingError("--feature-dim needs --heads linear or shared; set it to 0.")
    device = first.weight.device
    own = AxesHead(mean, axes, nn.Linear(axes.shape[1], student.dim)).to(device)
    other = AxesHead(mean, axes, nn.Linear(axes.shape[1], student.dim)).to(device)
    student.global_head, student.local_head = own, own if first is second else other


def put_on_empty_axes(student: Student, count: int) -> None:
    """Give the student heads whose axes and weights come from a state; no axes: nothing changes."""
    if count and isinstance(student.global_head, nn.Linear):
        channels = student.global_head.in_features
        put_on_axes(student, torch.zeros(channels), torch.zeros(channels, count))


def linear_of(head: nn.Module) -> nn.Module:
    """Return what learns of a head: the linear layer behind the axes, or the head itself."""
    return head.linear if isinstance(head, AxesHead) else head


def plain_state(student: Student) -> Mapping[str, Tensor]:
    """Return `student.state()` with every head on axes folded into a plain linear one."""
    state = student.state()
    for name in ("global_head", "local_head"):
        head = getattr(student, name)
        if not isinstance(head, AxesHead):
            continue
        own = [key for key in state if key.startswith(f"{name}.")]
        for key in own:
            del state[key]
        if own:  # a shared head stands in the state once
            state[f"{name}.weight"], state[f"{name}.bias"] = head.folded()
    return state
