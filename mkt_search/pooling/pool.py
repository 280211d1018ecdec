"""Pool the P patches of a photo into the few local vectors that are stored of it.

`cover` stores means of k patches, chosen together (`greedy_k_sets`); `topk` the m patches most like
the whole photo; `all` every patch.

The views of a panorama are pooled like photos, each with a share of the local vectors, and joined
so that the panorama scores as the best of them.

Nothing here is random, and every photo is computed by itself: its vectors do not depend, by a
single bit, on the photos that share its batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from mkt_search.errors import ModelError
from mkt_search.pooling.greedy_k_sets import greedy_k_sets
from mkt_search.pooling.panorama import join_views
from mkt_search.scoring import scale
from mkt_search.types import Encoded, Encoding, PhotoVectors, Vector

CACHE_BYTES = 1 << 21


def pool(
    encoded: Encoded, encoding: Encoding, *, views: Sequence[int] | None = None
) -> PhotoVectors:
    """Pool a batch of B photos: global_vectors (B, D), local_vectors (B, m, D), members (B, m, P).

    Sets that add nothing are padding without members. With `pooling = "all"`, m is P.

    Args:
        encoded: the batch as it leaves the student, unscaled; a row for each view of each photo.
        encoding: grid, kind and number of local vectors, and top_k.
        views: how many views each photo has, (B,); by default one.

    Raises:
        ModelError: the vectors hold NaN or infinity, or are not of the encoding's shape.
    """
    _check(encoded, encoding)
    if views is None:
        return _pool_photos(encoded, encoding)
    parts: list[PhotoVectors] = []
    end = 0
    for number, photos in groupby(views):
        start, end = end, end + number * len(list(photos))
        pool_rows, step = (_pool_photos, end - start) if number == 1 else (_pool_panorama, number)
        for first in range(start, end, step):
            rows = slice(first, first + step)
            parts.append(pool_rows(encoded.only(rows), encoding))
    return _joined(parts)


def _pool_photos(encoded: Encoded, encoding: Encoding) -> PhotoVectors:
    """Pool photos of one view each."""
    return _joined([_pool(encoded.only(few), encoding) for few in _few_at_a_time(encoded.patches)])


def _pool_panorama(views: Encoded, encoding: Encoding) -> PhotoVectors:
    """Pool the views of one photo. If all patches are stored, the most useful of each view are."""
    share = -(-encoding.m // len(views.patches))
    each = replace(encoding, m=share)
    if encoding.pooling == "all":
        each = replace(each, pooling="cover", top_k=1)
    return join_views(_pool_photos(views, each), encoding.m, local_share=views.local_share)


def _joined(parts: Sequence[PhotoVectors]) -> PhotoVectors:
    """Concatenate photos; members become as wide as those of the photo with the most views."""
    if len(parts) == 1:
        return parts[0]
    widest = max(part.members.shape[2] for part in parts)
    members = [
        np.pad(part.members, ((0, 0), (0, 0), (0, widest - part.members.shape[2])))
        for part in parts
    ]
    return PhotoVectors(
        np.concatenate([part.global_vectors for part in parts]),
        np.concatenate([part.local_vectors for part in parts]),
        np.concatenate(members),
    )


def _few_at_a_time(patches: Vector) -> list[slice]:
    """Cut a batch into runs of photos whose patches fit the processor's cache."""
    step = max(1, CACHE_BYTES // max(1, patches[:1].nbytes))
    return [slice(first, first + step) for first in range(0, max(1, len(patches)), step)]


def _pool(encoded: Encoded, encoding: Encoding) -> PhotoVectors:
    scaled = scale(encoded)
    patches = torch.from_numpy(np.ascontiguousarray(scaled.patches))
    with torch.inference_mode():
        members = CHOOSERS[encoding.pooling](
            patches, torch.from_numpy(scaled.global_vectors), encoding
        )
        local_vectors = _means(patches, members)
    return PhotoVectors(scaled.global_vectors, local_vectors.numpy(), members.numpy())


def _check(encoded: Encoded, encoding: Encoding) -> None:
    """Refuse vectors that no comparison could ever find again."""
    count, patches, dim = encoded.patches.shape
    if (patches, dim) != (encoding.patches, encoding.dim):
        raise ModelError(
            f"the student gave {patches} patches of {dim} numbers, but this library holds "
            f"{encoding.patches} of {encoding.dim}. Run `mkt index --rebuild`."
        )
    finite = np.isfinite(encoded.global_vectors).all(axis=1)
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


def _salient(patches: Tensor, global_vectors: Tensor, encoding: Encoding) -> Tensor:
    """Take the m patches with the largest inner product with the global vector, best first."""
    salience = torch.bmm(patches, global_vectors[:, :, None]).squeeze(2)
    best = salience.topk(min(encoding.m, encoding.patches)).indices  # (B, m)
    return _padded(best[..., None] == torch.arange(encoding.patches), encoding.m)


def _cover_sets(patches: Tensor, _: Tensor, encoding: Encoding) -> Tensor:
    """Take k-sets that together represent all patches."""
    return greedy_k_sets(patches, encoding.m, encoding.top_k)


Chooser = Callable[[Tensor, Tensor, Encoding], Tensor]
"""patches (B, P, D), global_vectors (B, D), encoding -> members (B, m, P) bool."""

CHOOSERS: dict[str, Chooser] = {
    "all": _every_patch,
    "topk": _salient,
    "cover": _cover_sets,
}


def _padded(members: Tensor, m: int) -> Tensor:
    """(B, n, P) -> (B, m, P), rows without members added."""
    missing = m - members.shape[1]
    return torch.nn.functional.pad(members, (0, 0, 0, missing)) if missing > 0 else members


def _means(patches: Tensor, members: Tensor) -> Tensor:
    """Return the mean of each set of patches, (B, P, D), (B, m, P) -> (B, m, D); padding is 0."""
    counts = members.sum(dim=2, keepdim=True).clamp_min(1)
    return torch.bmm(members.float(), patches) / counts
