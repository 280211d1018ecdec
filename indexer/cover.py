"""Sets of k patches of a photo, chosen so that together they speak for all of its patches.

The mean of the k best patches for a label is the best of all k-subsets, so any family of k-sets
gives a lower bound, and a good family has one near the best for every label that may come. Which k
patches are best is decided by what sets patches apart, not by what all of one photo share: their
mean is taken off first. Candidates are the k patches that go best with each patch, and the k that
go best with each of those sets. Of them the m are taken, one by one, that add most to the best
value any taken set has for a patch, summed over the patches: a greedy cover.

All of it is done in the patches' P x P inner products, and on what each candidate still adds to
each patch, which is brought up to date in place: large arrays are written once and stay in cache.
"""

import numpy as np
import torch
from torch import Tensor

NOTHING = 1e-6  # of what the first set adds; less is rounding, and the photo has sets enough


def cover(patches: Tensor, m: int, k: int) -> Tensor:
    """Return (B, m, P) bool: sets of min(k, P) patches of (B, P, D), the most useful first.

    Where fewer than m sets add anything, the last rows are empty; the first never is.
    """
    products = _centred(torch.bmm(patches, patches.transpose(1, 2)))
    members, adds = _candidates(products, min(k, patches.shape[1]))
    photos, least, rows = torch.arange(len(adds)), None, []
    for _ in range(m):
        most, chosen = adds.sum(dim=2).max(dim=1)
        useful = torch.ones_like(most, dtype=torch.bool) if least is None else most > least
        least = most * NOTHING if least is None else least
        rows.append(members[photos, chosen].bool() & useful[:, None])
        adds.sub_(adds[photos, chosen][:, None]).clamp_min_(0)
    return torch.stack(rows, dim=1)


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
    values, source = torch.empty_like(members), products
    for half in (slice(0, count), slice(count, None)):
        _mark_best(source, k, out=members[:, half])
        source = torch.bmm(members[:, half], products, out=values[:, half])
    return members, values.clamp_min_(0)


def _mark_best(values: Tensor, k: int, *, out: Tensor) -> None:
    """Write 1 for the k largest of each row of (B, n, P), the first of equal ones, and else 0."""
    last = values.shape[2] - k
    least = np.partition(values.numpy(), last, axis=2)[..., last, None]
    torch.ge(values, torch.from_numpy(least), out=out)
    tied = out.sum(dim=2) > k
    if tied.any():
        best = values[tied].argsort(dim=1, descending=True, stable=True)[:, :k]
        out[tied] = torch.zeros_like(values[tied]).scatter_(1, best, 1)
