"""Heads to start from: the ridge regression from backbone features to a photo's label vectors.

    argmin over W, b of  mean |W x + b - t|^2 + strength x V x |W|^2

where t is the unit sum of a photo's positive label vectors, x the cls (global head) or every patch
(local head), and V the total variance of cls, so that `strength` means the same for any backbone.
The solution is closed and takes one pass over the features; it reads unseen labels better than
heads trained from random weights, since it never learns to separate only what was seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mkt_search.errors import TrainingError


@dataclass(frozen=True)
class Moments:
    """Sums over n pairs of x (C,) and t (D,): enough to regress one on the other."""

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

    def along(self, mean: Tensor, axes: Tensor) -> "Moments":
        """Return the moments of (x - mean) @ axes instead of x; mean (C,), axes (C, A)."""
        mean, axes = mean.double(), axes.double()
        shifted = self.x - self.n * mean
        xx = self.xx - torch.outer(self.x, mean) - torch.outer(mean, shifted)
        xt = self.xt - torch.outer(mean, self.t)
        return Moments(self.n, shifted @ axes, self.t, axes.T @ xx @ axes, axes.T @ xt)

    @property
    def covariance(self) -> Tensor:
        """(C, C), of x."""
        mean = self.x / self.n
        return self.xx / self.n - torch.outer(mean, mean)

    def solve(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Return W (D, C) and b (D,) of the ridge regression with penalty x |W|^2."""
        mean_x, mean_t = self.x / self.n, self.t / self.n
        cross = self.xt / self.n - torch.outer(mean_x, mean_t)
        inner = self.covariance + penalty * torch.eye(len(mean_x), dtype=self.x.dtype)
        weight = torch.linalg.solve(inner, cross).T
        return weight, mean_t - weight @ mean_x


def moments(x: Tensor, t: Tensor) -> Moments:
    """Return the sums over n rows: x (n, C), t (n, D). Products in float32, sums in float64."""
    return Moments(
        float(len(x)), x.sum(0).double(), t.sum(0).double(), (x.T @ x).double(), (x.T @ t).double()
    )


def stream_moments(batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> tuple[Moments, Moments]:
    """Return the moments of cls and of patches over batches of (B, C), (B, P, C) and t (B, D)."""
    total: tuple[Moments, Moments] | None = None
    for cls, patches, goal in batches:
        if not len(cls):
            continue
        per_patch = goal.repeat_interleave(patches.shape[1], dim=0)  # (B * P, D)
        found = moments(cls, goal), moments(patches.flatten(0, 1), per_patch)
        total = found if total is None else (total[0] + found[0], total[1] + found[1])
    if total is None:
        raise TrainingError("no training photo shows a seen label; there is nothing to learn from.")
    return total


def set_heads(
    global_head: nn.Module,
    local_head: nn.Module,
    by_cls: Moments,
    by_patch: Moments,
    *,
    strength: float,
) -> float:
    """Set linear heads to the regression's solution; return the penalty it was solved with.

    A shared head solves both streams together, each with half the weight.
    """
    if not isinstance(global_head, nn.Linear) or not isinstance(local_head, nn.Linear):
        raise TrainingError("--start ridge needs --heads linear or shared; take --start random.")
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
    head.weight.copy_(weight)
    head.bias.copy_(bias)
