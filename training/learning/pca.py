"""Heads that see only the principal axes of a backbone's features.

Features hardly vary along most directions: weights along them fit noise, and an optimizer whose
steps have one size in every direction spends them there. Folded, such a head is the plain linear
head of a `Student`, so a checkpoint does not know of it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mkt_search.errors import TrainingError
from mkt_search.models.student import Student
from training.learning.ridge import Moments


class PcaHead(nn.Module):
    """A linear head on (x - mean) @ axes: (..., C) -> (..., A) -> (..., D).

    Args:
        mean: (C,).
        axes: (C, A), scaled so that features vary by about 1 along them.
        linear: A -> D, the part that learns.
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
        """Return the weight (D, C) and bias (D,) of the equivalent linear head."""
        weight = self.linear.weight @ self.axes.T
        return weight, self.linear.bias - weight @ self.mean


def principal_axes(by_cls: Moments, by_patch: Moments, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean (C,) of cls and `count` principal axes (C, A) of cls and patches together.

    All axes have one scale, under which the mean variance of cls along them is 1.

    Raises:
        TrainingError: the features have fewer channels than `count`.
    """
    channels = len(by_cls.x)
    if not 0 < count <= channels:
        raise TrainingError(
            f"--pca-dim is {count}; this backbone has {channels} channels: take at most {channels},"
            " or 0 for all."
        )
    _, directions = torch.linalg.eigh(by_cls.covariance + by_patch.covariance)  # (C, C), ascending
    axes = directions[:, -count:]  # (C, A)
    variance = (axes.T @ by_cls.covariance @ axes).trace() / count
    return (by_cls.x / by_cls.n).float(), (axes / variance.clamp_min(1e-12).sqrt()).float()


def project_heads_to_pca(student: Student, mean: Tensor, axes: Tensor) -> None:
    """Replace the student's linear heads by fresh ones on principal axes; shared ones stay shared.

    Args:
        mean: (C,).
        axes: (C, A).
    """
    first, second = student.global_head, student.local_head
    if not isinstance(first, nn.Linear) or not isinstance(second, nn.Linear):
        raise TrainingError("--pca-dim needs --heads linear or shared; set it to 0.")
    device = first.weight.device
    heads = [
        PcaHead(mean, axes, nn.Linear(axes.shape[1], student.dim)).to(device) for _ in range(2)
    ]
    is_shared = first is second
    student.global_head, student.local_head = heads[0], heads[0] if is_shared else heads[1]


def add_empty_pca_heads(student: Student, count: int) -> None:
    """Replace the student's linear heads by heads on `count` axes, to be filled from a state."""
    if count and isinstance(student.global_head, nn.Linear):
        channels = student.global_head.in_features
        project_heads_to_pca(student, torch.zeros(channels), torch.zeros(channels, count))


def trainable_layer(head: nn.Module) -> nn.Module:
    """Return the part of a head that learns: the linear layer of a PCA head, or the head itself."""
    return head.linear if isinstance(head, PcaHead) else head


def folded_state(student: Student) -> Mapping[str, Tensor]:
    """Return `student.state()` with every PCA head folded into a plain linear one."""
    state = student.state()
    for name in ("global_head", "local_head"):
        head = getattr(student, name)
        if not isinstance(head, PcaHead):
            continue
        own = [key for key in state if key.startswith(f"{name}.")]
        for key in own:
            del state[key]
        if own:  # the state has a shared head once, under the first name
            state[f"{name}.weight"], state[f"{name}.bias"] = head.folded()
    return state
