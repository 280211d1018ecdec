"""Ridge regression from backbone features to a photo's label target, as a start for linear heads.

    argmin over W, b of  mean |W x + b - t|^2 + strength x V x |W|^2

Here t is the unit sum of a photo's positive label vectors, x the cls (global head) or every patch
(local head), and V the total variance of cls, so that `strength` means the same for any backbone.
The solution is closed-form and takes one pass over the features. It reads unseen labels better than
heads trained from random weights, which learn to separate seen labels only.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mkt_search.errors import TrainingError
from mkt_search.models.student import give_bias


@dataclass(frozen=True)
class Moments:
    """Sums over n pairs of x (C,) and t (D,): enough to regress t on x.

    Args:
        n: the number of pairs, or their total weight.
        x: (C,), the sum of x.
        t: (D,), the sum of t.
        xx: (C, C), the sum of x x^T.
        xt: (C, D), the sum of x t^T.
    """

    n: float
    x: Tensor
    t: Tensor
    xx: Tensor
    xt: Tensor

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.t + other.t,
            self.xx + other.xx,
            self.xt + other.xt,
        )

    def scaled(self, factor: float) -> "Moments":
        """Return the sums as if each pair counted `factor` times."""
        return Moments(
            factor * self.n, factor * self.x, factor * self.t, factor * self.xx, factor * self.xt
        )

    def projected(self, mean: Tensor, axes: Tensor) -> "Moments":
        """Return the moments of (x - mean) @ axes in place of x; mean (C,), axes (C, A)."""
        mean, axes = mean.double(), axes.double()
        centered = self.x - self.n * mean  # (C,)
        xx = self.xx - torch.outer(self.x, mean) - torch.outer(mean, centered)  # (C, C)
        xt = self.xt - torch.outer(mean, self.t)  # (C, D)
        return Moments(self.n, centered @ axes, self.t, axes.T @ xx @ axes, axes.T @ xt)

    @property
    def covariance(self) -> Tensor:
        """(C, C), the covariance of x."""
        mean = self.x / self.n
        return self.xx / self.n - torch.outer(mean, mean)

    def solve(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Return W (D, C) and b (D,) of the ridge regression with penalty x |W|^2."""
        mean_x, mean_t = self.x / self.n, self.t / self.n
        cross = self.xt / self.n - torch.outer(mean_x, mean_t)  # (C, D)
        inner = self.covariance + penalty * torch.eye(len(mean_x), dtype=self.x.dtype)  # (C, C)
        weight = torch.linalg.solve(inner, cross).T  # (D, C)
        return weight, mean_t - weight @ mean_x


def moments(x: Tensor, t: Tensor) -> Moments:
    """Return the sums over n rows: x (n, C), t (n, D). Products in float32, sums in float64."""
    return Moments(
        float(len(x)), x.sum(0).double(), t.sum(0).double(), (x.T @ x).double(), (x.T @ t).double()
    )


def stream_moments(batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> tuple[Moments, Moments]:
    """Return the moments of cls and of patches.

    Args:
        batches: cls (B, C), patches (B, P, C) and label targets (B, D) of photos.

    Raises:
        TrainingError: there are no photos.
    """
    total: tuple[Moments, Moments] | None = None
    for cls, patches, goal in batches:
        if not len(cls):
            continue
        per_patch = goal.repeat_interleave(patches.shape[1], dim=0)  # (B * P, D)
        found = moments(cls, goal), moments(patches.flatten(0, 1), per_patch)
        total = found if total is None else (total[0] + found[0], total[1] + found[1])
    if total is None:
        raise TrainingError("no training photo shows a seen label, so there is nothing to learn.")
    return total


def set_ridge_heads(
    global_head: nn.Module,
    local_head: nn.Module,
    by_cls: Moments,
    by_patch: Moments,
    *,
    strength: float,
) -> float:
    """Set linear heads to the solution of the regression.

    A shared head solves both streams together, each with half the weight.

    Returns:
        The penalty of the squared weights: `strength` times the total variance of cls.

    Raises:
        TrainingError: the heads are not linear.
    """
    if not isinstance(global_head, nn.Linear) or not isinstance(local_head, nn.Linear):
        raise TrainingError(
            "--head-init ridge needs --heads linear or shared; take --head-init random."
        )
    penalty = strength * float(by_cls.covariance.trace())
    if global_head is local_head:
        both = by_cls.scaled(1 / by_cls.n) + by_patch.scaled(1 / by_patch.n)
        _set(global_head, both.solve(penalty))
    else:
        _set(global_head, by_cls.solve(penalty))
        _set(local_head, by_patch.solve(penalty))
    return penalty


@torch.no_grad()
def _set(head: nn.Linear, solution: tuple[Tensor, Tensor]) -> None:
    weight, bias = solution
    give_bias(head)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
