"""Pool the P patches of a photo into the few local vectors that are stored of it.

The patches are grouped by spherical k-means, which needs nothing but their P x P inner products
(the Gram matrix), so an iteration costs no more for long vectors than for short ones. `centroids`
stores the mean of each group. `kset` stores, for each group, the mean of the k patches that agree
most with its centre: the mean of a real k-subset, so the best of them is never more than the exact
mean of the k best patches, and close to it. `ward` and `cover` do the same two things better:
`ward` stores the means of Ward's groups (`indexer.ward`), `cover` k-set means chosen together
(`indexer.pooling.greedy_k_sets`).

Nothing here is random, and every photo is computed by itself: its vectors do not depend, by a
single bit, on the photos that share its batch.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from indexer.pooling.greedy_k_sets import cover
from indexer.ward import ward
from mkt_search.errors import ModelError
from mkt_search.scoring import TINY, scale
from mkt_search.types import Encoded, Encoding, PhotoVectors, Vector

ITERATIONS = 6
CACHE_BYTES = 1 << 21


def pool(encoded: Encoded, encoding: Encoding, vocabulary: Vector | None = None) -> PhotoVectors:
    """Return what is stored of a batch: global_ (B, D), local_vectors (B, m, D), members (B, m, P).

    Groups that stay empty are padding without members. With `local = "all"`, m is P.

    Args:
        encoded: the batch as it leaves the student, unscaled.
        encoding: grid, kind and number of local vectors, top_k, and the scale rule.
        vocabulary: (V, D), the reference of the `vocabulary` scale rule.

    Raises:
        ModelError: the vectors hold NaN or infinity, or are not of the encoding's shape.
    """
    _check(encoded, encoding)
    parts = [
        _pool(Encoded(encoded.global_[few], encoded.patches[few]), encoding, vocabulary)
        for few in _few_at_a_time(encoded.patches)
    ]
    return PhotoVectors(
        np.concatenate([part.global_ for part in parts]),
        np.concatenate([part.local_vectors for part in parts]),
        np.concatenate([part.members for part in parts]),
    )


def _few_at_a_time(patches: Vector) -> list[slice]:
    """Cut a batch into runs of photos whose patches fit the processor's cache."""
    step = max(1, CACHE_BYTES // max(1, patches[:1].nbytes))
    return [slice(first, first + step) for first in range(0, max(1, len(patches)), step)]


def _pool(encoded: Encoded, encoding: Encoding, vocabulary: Vector | None) -> PhotoVectors:
    scaled = scale(encoded, rule=encoding.scale, k=encoding.top_k, vocabulary=vocabulary)
    patches = torch.from_numpy(np.ascontiguousarray(scaled.patches))
    with torch.inference_mode():
        members = CHOOSERS[encoding.local](patches, torch.from_numpy(scaled.global_), encoding)
        local_vectors = _means(patches, members)
    return PhotoVectors(scaled.global_, local_vectors.numpy(), members.numpy())


def _check(encoded: Encoded, encoding: Encoding) -> None:
    """Refuse vectors that no comparison could ever find again."""
    count, patches, dim = encoded.patches.shape
    if (patches, dim) != (encoding.patches, encoding.dim):
        raise ModelError(
            f"the student gave {patches} patches of {dim} numbers, but this library holds "
            f"{encoding.patches} of {encoding.dim}. Run `mkt index --rebuild`."
        )
    finite = np.isfinite(encoded.global_).all(axis=1)
    finite &= np.isfinite(encoded.patches).all(axis=(1, 2))
    if not finite.all():
        raise ModelError(
            f"the student gave NaN or infinity for {(~finite).sum()} of {count} photos: its "
            "weights are damaged or overflow. Try `--dtype float32`, else another checkpoint."
        )


def _every_patch(patches: Tensor, _: Tensor, encoding: Encoding) -> Tensor:
    """Make each patch its own local vector: (B, P, P)."""
    each = torch.eye(encoding.patches, dtype=torch.bool)
    return each.expand(len(patches), -1, -1).contiguous()


def _salient(patches: Tensor, global_: Tensor, encoding: Encoding) -> Tensor:
    """Take the m patches with the largest inner product with the global vector, best first."""
    salience = torch.bmm(patches, global_[:, :, None]).squeeze(2)
    best = salience.topk(min(encoding.m, encoding.patches)).indices  # (B, m)
    return _padded(best[..., None] == torch.arange(encoding.patches), encoding.m)


def _groups(patches: Tensor, _: Tensor, encoding: Encoding) -> Tensor:
    """Take the k-means groups as they are."""
    _, groups = _k_means(patches, encoding)
    return groups


def _k_sets(patches: Tensor, _: Tensor, encoding: Encoding) -> Tensor:
    """Take, for each k-means group, the k patches of largest inner product with its centre."""
    agreement, groups = _k_means(patches, encoding)
    best = agreement.topk(min(encoding.top_k, encoding.patches), sorted=False).indices  # (B, m, k)
    members = torch.zeros_like(groups).scatter_(2, best, True)
    return members & groups.any(dim=2, keepdim=True)


def _ward_groups(patches: Tensor, _: Tensor, encoding: Encoding) -> Tensor:
    """Take Ward's groups."""
    return ward(patches, encoding.m)


def _cover_sets(patches: Tensor, _: Tensor, encoding: Encoding) -> Tensor:
    """Take k-sets that together speak for all patches."""
    return cover(patches, encoding.m, encoding.top_k)


Chooser = Callable[[Tensor, Tensor, Encoding], Tensor]
"""patches (B, P, D), global_ (B, D), encoding -> members (B, m, P) bool."""

CHOOSERS: dict[str, Chooser] = {
    "all": _every_patch,
    "topk": _salient,
    "centroids": _groups,
    "kset": _k_sets,
    "ward": _ward_groups,
    "cover": _cover_sets,
}


def _k_means(patches: Tensor, encoding: Encoding) -> tuple[Tensor, Tensor]:
    """Group the directions of the patches, starting from rectangles of the grid.

    Returns:
        agreement (B, m, P): the inner product of the unit centre of each group with each patch,
        -inf where the group is empty; groups (B, m, P) bool: each patch in its one group.
    """
    gram = torch.bmm(patches, patches.transpose(1, 2))
    inverse = gram.diagonal(dim1=1, dim2=2).clamp_min(float(TINY)).rsqrt()  # (B, P), 1 / length
    labels = torch.from_numpy(seeds(*encoding.grid, encoding.m)).repeat(len(patches), 1)
    agreement = _agreement(gram, inverse, labels, encoding.m)
    for _ in range(ITERATIONS):
        moved = agreement.argmax(dim=1)
        if torch.equal(moved, labels):
            break
        labels = moved
        agreement = _agreement(gram, inverse, labels, encoding.m)
    return agreement, labels[:, None, :] == torch.arange(encoding.m)[:, None]


def _agreement(gram: Tensor, inverse: Tensor, labels: Tensor, m: int) -> Tensor:
    """Return <unit centre of a group, patch>, (B, m, P); a centre is the sum of unit patches."""
    groups = gram.new_zeros(len(gram), m, gram.shape[2])
    groups.scatter_(1, labels[:, None, :], inverse[:, None, :])
    sums = torch.bmm(groups, gram)
    squares = (sums * groups).sum(dim=2, keepdim=True)  # (B, m, 1): of the centres' lengths
    scaled = sums.mul_(squares.clamp_min_(float(TINY)).rsqrt_())
    return scaled.masked_fill_(groups.amax(dim=2, keepdim=True) == 0, -torch.inf)


def _padded(members: Tensor, m: int) -> Tensor:
    """(B, n, P) -> (B, m, P), rows without members added."""
    missing = m - members.shape[1]
    return torch.nn.functional.pad(members, (0, 0, 0, missing)) if missing > 0 else members


def _means(patches: Tensor, members: Tensor) -> Tensor:
    """Return the mean of each set of patches, (B, P, D), (B, m, P) -> (B, m, D); padding is 0."""
    counts = members.sum(dim=2, keepdim=True).clamp_min(1)
    return torch.bmm(members.float(), patches) / counts


def seeds(rows: int, columns: int, m: int) -> NDArray[np.int64]:
    """Return (P,) int64: which of at most m rectangles of the grid each patch starts in.

    The rectangles are as square as they come; for m = 16 on 14 x 14 patches, 4 x 4 of them. When
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
