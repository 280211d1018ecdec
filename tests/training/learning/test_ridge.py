"""Ridge regression from sums over batches."""

import pytest
import torch
from torch import nn

from mkt_search.errors import TrainingError
from training.learning.ridge import moments, set_ridge_heads, stream_moments


@pytest.mark.parametrize("shared", [False, True])
def test_ridge_heads_minimize_the_regression_loss(shared: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    cls, patches = torch.randn(30, 4, generator=rng), torch.randn(30, 5, 4, generator=rng)
    goal = torch.nn.functional.normalize(torch.randn(30, 3, generator=rng), dim=-1)
    first = torch.nn.Linear(4, 3)
    second = first if shared else torch.nn.Linear(4, 3)
    found = stream_moments(
        [(cls[:20], patches[:20], goal[:20]), (cls[20:], patches[20:], goal[20:])]
    )
    penalty = set_ridge_heads(first, second, *found, strength=0.1)
    assert penalty == pytest.approx(0.1 * float(cls.var(dim=0, unbiased=False).sum()), rel=1e-4)
    loss = (first(cls) - goal).square().sum(-1).mean()
    loss = loss + (second(patches) - goal[:, None]).square().sum(-1).mean()
    # a shared head carries the penalty of both streams, as its two moments together count double
    loss = loss + penalty * sum(h.weight.square().sum() for h in (first, second))
    for head in set((first, second)):
        for gradient in torch.autograd.grad(loss, list(head.parameters()), retain_graph=True):
            assert gradient.abs().max() < 1e-5


def test_projected_moments_are_those_of_projected_features() -> None:
    x, t = torch.randn(9, 4).double(), torch.randn(9, 2).double()
    mean, axes = torch.randn(4).double(), torch.randn(4, 3).double()
    expected = moments((x - mean) @ axes, t)
    found = moments(x, t).projected(mean, axes)
    for name in ("x", "t", "xx", "xt"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


def test_moments_of_parts_add_up() -> None:
    x, t = torch.randn(9, 4).double(), torch.randn(9, 2).double()
    whole, parts = moments(x, t), moments(x[:4], t[:4]) + moments(x[4:], t[4:])
    torch.testing.assert_close(whole.solve(0.3), parts.solve(0.3))
    torch.testing.assert_close(whole.covariance, x.T.cov(correction=0))


def test_heads_that_are_not_linear_are_refused() -> None:
    found = stream_moments([(torch.randn(9, 4), torch.randn(9, 2, 4), torch.randn(9, 3))])
    head = nn.Sequential(nn.Linear(4, 3))
    with pytest.raises(TrainingError, match="--head-init ridge needs --heads linear or shared"):
        set_ridge_heads(head, head, *found, strength=0.1)


def test_no_photos_are_refused() -> None:
    with pytest.raises(TrainingError, match="no training photo shows a seen label"):
        stream_moments([])
