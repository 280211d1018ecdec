"""Greedy k-sets: sets of k patches of a photo that together represent all of its patches.

The mean of the k best patches for a label is the best of all k-subsets, so any family of k-sets
gives a lower bound, and a good family has one near the best for every label that may come. Which k
patches are best is decided by what sets patches apart, not by what all of one photo share: their
mean is taken off first. Candidates are the k patches that go best with each patch, and the k that
go best with each of those sets. Of them the m are taken, one by one, that add most to the best
value any taken set has for a patch, summed over the patches: a greedy cover.

All of it is done in the patches' P x P inner products. What each candidate still adds to each patch
is brought up to date in place, so that it stays in the processor's cache.
"""

import numpy as np
import torch
from torch import Tensor

NOTHING = 1e-6  # of what the first set adds; less is rounding, and the photo has sets enough


def greedy_k_sets(patches: Tensor, m: int, k: int) -> Tensor:
    """Return (B, m, P) bool: sets of min(k, P) patches of (B, P, D), the most useful first.

    Where fewer than m sets add anything, the last rows are empty; the first never is.
    """
    products = _centred(torch.bmm(patches, patches.transpose(1, 2)))
    members, adds = _candidates(products, min(k, patches.shape[1]))
    photos = torch.arange(len(adds))
    taken: list[Tensor] = []
    most: list[Tensor] = []
    for _ in range(m):
        if taken:
            adds.sub_(adds[photos, taken[-1]][:, None]).clamp_min_(0)
        added, chosen = adds.sum(dim=2).max(dim=1)
        taken.append(chosen)
        most.append(added)
    useful = torch.stack(most, dim=1)  # (B, m)
    useful = (useful > useful[:, :1] * NOTHING).index_fill_(1, torch.tensor(0), True)
    return members[photos[:, None], torch.stack(taken, dim=1)].bool() & useful[..., None]


def _centred(products: Tensor) -> Tensor:
    """Turn the inner products (B, P, P) of patches into those of the patches less their mean."""
    means = products.mean(dim=2, keepdim=True)
    return products.sub_(means - means.mean(dim=1, keepdim=True)).sub_(means.transpose(1, 2))


def _candidates(products: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k best for each patch, then the k best for each such set.

    Returns:
        members (B, 2 P, P): 1 for the patches of a candidate, 0 for others;
        adds (B, 2 P, P): k times what it adds to each patch's value while nothing is taken. The
        value of the mean patch is 0, and no patch has less.
    """
    count = products.shape[1]
    members = products.new_empty(len(products), 2 * count, count)
    adds, source = torch.empty_like(members), products
    for half in (slice(0, count), slice(count, None)):
        _mark_best(source, k, out=members[:, half])
        source = torch.bmm(members[:, half], products, out=adds[:, half])
    return members, adds.clamp_min_(0)


def _mark_best(values: Tensor, k: int, *, out: Tensor) -> None:
    """Write 1 for the k largest of each row of (B, n, P), the first of equal ones, and else 0."""
    least = np.sort(values.numpy(), axis=2)[..., -k, None]  # faster than a partition
    torch.ge(values, torch.from_numpy(least), out=out)
    tied = out.sum(dim=2) > k
    if tied.any():
        best = values[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
        out[tied] = torch.zeros_like(values[tied]).scatter_(1, best, 1)
