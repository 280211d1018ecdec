"""Spherical k-means of the patches of a photo, the basis of two rejected pooling methods.

It works on the P x P inner products of the patches, so its cost does not depend on D.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mkt_search.scoring import TINY

ITERATIONS = 6


def centroids(patches: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
    """Return the groups of k-means, (B, m, P) bool."""
    return k_means(patches, grid, m)[1]


def k_sets(patches: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
    """Return the k patches of largest inner product with the center of each group, (B, m, P)."""
    agreement, groups = k_means(patches, grid, m)
    best = agreement.topk(min(k, patches.shape[1]), sorted=False).indices  # (B, m, k)
    members = torch.zeros_like(groups).scatter_(2, best, True)
    return members & groups.any(dim=2, keepdim=True)


def k_means(patches: Tensor, grid: tuple[int, int], m: int) -> tuple[Tensor, Tensor]:
    """Group the directions of the patches (B, P, D), starting from rectangles of the grid.

    Returns:
        agreement (B, m, P): the inner product of the unit center of each group with each patch,
        -inf where the group is empty; groups (B, m, P) bool: each patch in its one group.
    """
    gram = torch.bmm(patches, patches.transpose(1, 2))
    inverse = gram.diagonal(dim1=1, dim2=2).clamp_min(float(TINY)).rsqrt()  # (B, P), 1 / length
    labels = torch.from_numpy(seeds(*grid, m)).repeat(len(patches), 1)
    agreement = _agreement(gram, inverse, labels, m)
    for _ in range(ITERATIONS):
        moved = agreement.argmax(dim=1)
        if torch.equal(moved, labels):
            break
        labels = moved
        agreement = _agreement(gram, inverse, labels, m)
    return agreement, labels[:, None, :] == torch.arange(m)[:, None]


def _agreement(gram: Tensor, inverse: Tensor, labels: Tensor, m: int) -> Tensor:
    """Return <unit center of a group, patch>, (B, m, P); a center is the sum of unit patches."""
    groups = gram.new_zeros(len(gram), m, gram.shape[2])
    groups.scatter_(1, labels[:, None, :], inverse[:, None, :])
    sums = torch.bmm(groups, gram)
    squares = (sums * groups).sum(dim=2, keepdim=True)  # (B, m, 1): squared lengths of the centers
    scaled = sums.mul_(squares.clamp_min_(float(TINY)).rsqrt_())
    return scaled.masked_fill_(groups.amax(dim=2, keepdim=True) == 0, -torch.inf)


def seeds(rows: int, columns: int, m: int) -> NDArray[np.int64]:
    """Return (P,) int64: which of at most m rectangles of the grid each patch starts in.

    The rectangles are as square as possible: 4 x 4 of them for m = 16 on 14 x 14 patches. When
    there are fewer patches than m, each patch starts alone.
    """
    bands = min(rows, m, max(1, round((m * rows / columns) ** 0.5)))
    edges = [band * m // bands for band in range(bands + 1)]
    start = np.empty((rows, columns), np.int64)
    for row in range(rows):
        band = row * bands // rows
        width = min(columns, edges[band + 1] - edges[band])
        start[row] = edges[band] + np.arange(columns) * width // columns
    return start.ravel()
