"""Sets of k patches of a photo, chosen so that together they speak for all of its patches.

The mean of the k best patches for a label is the best of all k-subsets, so any family of k-sets
gives a lower bound, and a good family has one near the best for every label that may come. Which k
patches are best is decided by what sets patches apart, not by what all of one photo share: their
mean is taken off first. Candidates are the k patches that go best with each patch, and the k that
go best with each of those sets. Of them the m are taken, one by one, that add most to the best
value any taken set has for a patch, summed over the patches: a greedy cover.
"""

import torch
from torch import Tensor

NOTHING = 1e-6  # of what the first set adds; less is rounding, and the photo has sets enough


def cover(patches: Tensor, m: int, k: int) -> Tensor:
    """Return (B, m, P) bool: sets of min(k, P) patches of (B, P, D), the most useful first.

    Where fewer than m sets add anything, the last rows are empty; the first never is.
    """
    products = _centred(torch.bmm(patches, patches.transpose(1, 2)))
    candidates = _candidates(products, min(k, patches.shape[1]))
    values = torch.bmm(candidates.float(), products)  # (B, 2 P, P), k times what a set has
    covered = values.new_zeros(len(values), 1, values.shape[2])  # the mean patch's value is 0
    photos, least, rows = torch.arange(len(values)), None, []
    for _ in range(m):
        adds, chosen = (values - covered).clamp_min_(0).sum(dim=2).max(dim=1)
        useful = torch.ones_like(adds, dtype=torch.bool) if least is None else adds > least
        least = adds * NOTHING if least is None else least
        rows.append(candidates[photos, chosen] & useful[:, None])
        covered = torch.maximum(covered, values[photos, chosen][:, None])
    return torch.stack(rows, dim=1)


def _centred(products: Tensor) -> Tensor:
    """Return the inner products (B, P, P) of the patches less their mean."""
    means = products.mean(dim=2, keepdim=True)
    return products - means - means.transpose(1, 2) + means.mean(dim=1, keepdim=True)


def _candidates(products: Tensor, k: int) -> Tensor:
    """Return (B, 2 P, P) bool: the k best for each patch, then the k best for each such set."""
    near = _best(products, k)
    return torch.cat([near, _best(torch.bmm(near.float(), products), k)], dim=1)


def _best(products: Tensor, k: int) -> Tensor:
    """Mark the k largest of each row."""
    best = products.topk(k, dim=2, sorted=False).indices
    return torch.zeros_like(products, dtype=torch.bool).scatter_(2, best, True)
