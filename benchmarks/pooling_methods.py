"""Pooling methods: those of the library, and those that were measured against them and lost.

A method takes scaled photos, the grid, m and k, and returns what would be stored. The rejected ones
are plain and slow. The vocabulary scale and the score of groups of different sizes, which only they
need, are here too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from k_means import centroids, k_sets
from torch import Tensor
from ward import ward

from mkt_search.pooling.greedy_k_sets import greedy_k_sets
from mkt_search.scoring import TINY, score, stream_weights
from mkt_search.store.segments.coding import decode, encode
from mkt_search.types import Encoded, PhotoVectors, Vector

Members = Callable[[Tensor, tuple[int, int], int, int], Tensor]
"""patches (B, P, D), grid, m, k -> members (B, m, P) bool."""

PHOTOS_PER_BATCH = 32


@dataclass(frozen=True)
class Pooled:
    """What is stored of n photos.

    `counts` (n, m) are the patches that each vector stands for, when they are not those of its
    members; `size` is the bytes of a photo when a segment cannot hold it.
    """

    vectors: PhotoVectors
    counts: Vector | None = None
    size: int | None = None


def over_vocabulary(encoded: Encoded, vocabulary: Vector, k: int) -> Encoded:
    """Divide each stream by the norm of its scores over a vocabulary (V, D), times its weight.

    For labels of that vocabulary the sum of the streams is the paper's score exactly; the vectors
    inside a photo keep their lengths.
    """
    ones = np.ones(encoded.patches.shape[:2], np.int64)
    streams = score(vocabulary, encoded.global_vectors, encoded.patches, ones, k=k)
    of_global, of_local = stream_weights(encoded.local_share)
    by_global = of_global / np.maximum(np.linalg.norm(streams.global_scores, axis=-1), TINY)
    by_local = of_local / np.maximum(np.linalg.norm(streams.local_scores, axis=-1), TINY)
    return replace(
        encoded,
        global_vectors=by_global[:, None] * encoded.global_vectors,
        patches=by_local[:, None, None] * encoded.patches,
    )


def mean_of_best(similarities: Vector, counts: Vector, k: int) -> Vector:
    """Return the mean of the k best patches, (n, L), when each vector stands for some of them.

    Args:
        similarities: (n, m, L), of local vectors with labels.
        counts: (n, m), patches that each vector stands for, fractions allowed; 0 is padding.
        k: patches to average.
    """
    order = np.argsort(-similarities, axis=1)  # (n, m, L)
    ranked = np.take_along_axis(similarities, order, axis=1)
    patches = np.take_along_axis(np.broadcast_to(counts[..., None], order.shape), order, axis=1)
    before = np.cumsum(patches, axis=1) - patches
    used = np.clip(k - before, 0, patches)
    mean: Vector = (used * ranked).sum(axis=1) / np.maximum(used.sum(axis=1), TINY)
    return mean


def as_means(members: Members) -> Callable[..., Pooled]:
    """Return the method that stores the means of these sets of patches."""

    def pooled(scaled: Encoded, grid: tuple[int, int], m: int, k: int) -> Pooled:
        chosen = _in_parts(scaled, lambda patches: members(patches, grid, m, k))
        return Pooled(PhotoVectors(scaled.global_vectors, _means(scaled.patches, chosen), chosen))

    return pooled


def salient(scaled: Encoded, grid: tuple[int, int], m: int, k: int) -> Pooled:
    """Store the m patches most similar to the global vector."""
    salience = np.einsum("npd,nd->np", scaled.patches, scaled.global_vectors)
    best = np.argsort(-salience, axis=1, kind="stable")[:, :m]
    members = best[..., None] == np.arange(scaled.patches.shape[1])
    return Pooled(PhotoVectors(scaled.global_vectors, _means(scaled.patches, members), members))


def windows(_: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
    """Return m squares of about k patches, evenly spread over the grid: members (1, m, P)."""
    side, across = max(1, round(k**0.5)), round(m**0.5)
    starts = [np.linspace(0, length - side, across).round().astype(int) for length in grid]
    members = np.zeros((across * across, *grid), bool)
    for row, (top, left) in enumerate((top, left) for top in starts[0] for left in starts[1]):
        members[row, top : top + side, left : left + side] = True
    return torch.from_numpy(members.reshape(len(members), -1))[None]


def spatial_ward(weight: float) -> Members:
    """Return Ward's groups by similarity and position; the photo's diagonal has length `weight`."""

    def members(patches: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
        length = patches.norm(dim=2).square().mean(dim=1).sqrt()[:, None, None]
        position = torch.from_numpy(np.indices(grid).reshape(2, -1).T.astype(np.float32))
        position = weight * position / torch.tensor(grid).float().norm()
        return ward(torch.cat([patches, length * position], dim=2), m)

    return members


def refined_ward(patches: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
    """Return Ward's groups after moving single patches while that lowers the squares (Hartigan)."""
    members = ward(patches, m)
    for _ in range(30):
        members = _best_move(torch.bmm(patches, patches.transpose(1, 2)), members)
    return members


def ward_sets(patches: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
    """Return the k patches most similar to each of Ward's groups, the photo's mean subtracted."""
    centred = patches - patches.mean(dim=1, keepdim=True)
    groups = ward(patches, m)
    agreement = torch.bmm(torch.bmm(groups.float(), centred), centred.transpose(1, 2))
    best = agreement.topk(k, dim=2).indices
    return torch.zeros_like(groups).scatter_(2, best, True) & groups.any(dim=2, keepdim=True)


def moved_cover(patches: Tensor, grid: tuple[int, int], m: int, k: int) -> Tensor:
    """Return a cover whose anchors are moved to the patches that their sets are best for."""
    members, centred = greedy_k_sets(patches, m, k), patches - patches.mean(dim=1, keepdim=True)
    products = torch.bmm(centred, centred.transpose(1, 2))
    best = torch.bmm(members.float(), products).argmax(dim=1)  # (B, P): the best set for a patch
    own = (best[:, None] == torch.arange(m)[:, None]).float()
    anchored = torch.bmm(own, products).topk(k, dim=2).indices
    moved = torch.zeros_like(members).scatter_(2, anchored, True)
    return torch.where(own.any(dim=2, keepdim=True), moved, members)


def pushed_ward(scaled: Encoded, grid: tuple[int, int], m: int, k: int) -> Pooled:
    """Store Ward's groups moved 5 % away from the photo's mean, as averaging shortens them."""
    vectors = METHODS["ward"](scaled, grid, m, k).vectors
    mean = scaled.patches.mean(axis=1, keepdims=True)
    further = vectors.local_vectors + np.float32(0.05) * (vectors.local_vectors - mean)
    return Pooled(PhotoVectors(scaled.global_vectors, further, vectors.members))


def salient_ward(scaled: Encoded, grid: tuple[int, int], m: int, k: int) -> Pooled:
    """Store Ward's groups with patches counted by their similarity to the global vector.

    Counts run from 0.5 for the least similar patch of a photo to 1.5 for the most similar one, and
    are then divided by their mean.
    """
    vectors = METHODS["ward"](scaled, grid, m, k).vectors
    salience = np.einsum("npd,nd->np", scaled.patches, scaled.global_vectors)
    low, high = salience.min(axis=1, keepdims=True), salience.max(axis=1, keepdims=True)
    weights = 0.5 + (salience - low) / np.maximum(high - low, 1e-12)
    weights = weights / weights.mean(axis=1, keepdims=True)
    counts = np.einsum("nmp,np->nm", vectors.members.astype(np.float32), weights)
    return Pooled(vectors, counts.astype(np.float32))


def low_rank(scaled: Encoded, grid: tuple[int, int], m: int, k: int) -> Pooled:
    """Store the mean patch, m principal axes, and m coefficients of every patch, all in int8.

    The result holds the reconstructed patches. A segment cannot store this, and no stored vector
    bounds the score.
    """
    count, patches, dim = scaled.patches.shape
    back = np.empty_like(scaled.patches)
    for start in range(0, count, PHOTOS_PER_BATCH):
        own = torch.from_numpy(scaled.patches[start : start + PHOTOS_PER_BATCH])
        mean = own.mean(dim=1, keepdim=True)
        u, lengths, axes = torch.linalg.svd(own - mean, full_matrices=False)
        coefficients = (u[..., :m] * lengths[:, None, :m]).transpose(1, 2)  # (B, m, P)
        parts = [int8(part.numpy()) for part in (mean, coefficients, axes[:, :m])]
        back[start : start + PHOTOS_PER_BATCH] = parts[0] + np.einsum(
            "nmp,nmd->npd", parts[1], parts[2]
        )
    size = (2 + m) * (dim + 4) + m * (patches + 4) + 32
    own_rows = np.broadcast_to(np.eye(patches, dtype=np.bool_), (count, patches, patches))
    return Pooled(PhotoVectors(scaled.global_vectors, back, own_rows), size=size)


def int8(vectors: Vector) -> Vector:
    """Return vectors after coding to int8 and decoding."""
    codes, steps = encode(np.ascontiguousarray(vectors), "int8")
    return decode(codes, steps, "int8", vectors.shape[-1])


def _best_move(products: Tensor, members: Tensor) -> Tensor:
    """Move in each photo the patch whose move lowers the squares most, if any does."""
    sizes = members.sum(dim=2).float()
    means = torch.bmm(members.float(), products) / sizes.clamp_min(1)[..., None]
    squares = (means * members).sum(dim=2) / sizes.clamp_min(1)
    apart = products.diagonal(dim1=1, dim2=2)[:, None] + squares[..., None] - 2 * means
    own = members.float().argmax(dim=1)
    size = sizes.gather(1, own)
    saved = apart.gather(1, own[:, None]).squeeze(1) * size / (size - 1).clamp_min(1e-6)
    change = (sizes / (sizes + 1))[..., None] * apart - (saved * (size > 1))[:, None]
    change = change.masked_fill(members | (sizes == 0)[..., None], torch.inf)
    least, at = change.flatten(1).min(dim=1)
    photos = torch.arange(len(members))[least < -1e-7]
    group, patch = at[photos] // members.shape[2], at[photos] % members.shape[2]
    moved = members.clone()
    moved[photos, :, patch] = False
    moved[photos, group, patch] = True
    return moved


def _in_parts(scaled: Encoded, members: Callable[[Tensor], Tensor]) -> np.ndarray:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(scaled.patches), PHOTOS_PER_BATCH):
            patches = torch.from_numpy(scaled.patches[start : start + PHOTOS_PER_BATCH])
            parts.append(members(patches).expand(len(patches), -1, -1).numpy())
    return np.concatenate(parts)


def _means(patches: Vector, members: np.ndarray) -> Vector:
    sums: Vector = np.matmul(members.astype(np.float32), patches)
    means: Vector = sums / np.maximum(members.sum(axis=2), 1)[..., None].astype(np.float32)
    return means


METHODS: dict[str, Callable[..., Pooled]] = {
    "cover": as_means(lambda patches, _, m, k: greedy_k_sets(patches, m, k)),
    "topk": salient,
    "kset": as_means(k_sets),
    "centroids": as_means(centroids),
    "ward": as_means(lambda patches, _, m, k: ward(patches, m)),
}
"""By name; the library has `cover` and `topk`, and had the others in earlier versions."""

VARIATIONS: dict[str, Callable[..., Pooled]] = {
    "windows": as_means(windows),
    "ward, position weighted 0.2": as_means(spatial_ward(0.2)),
    "ward, patches moved": as_means(refined_ward),
    "ward, means pushed outwards": pushed_ward,
    "ward, patches weighted by saliency": salient_ward,
    "k-sets of Ward's groups": as_means(ward_sets),
    "cover, anchors moved": as_means(moved_cover),
    "mean + m axes": low_rank,
}
"""Methods that were only tried."""
METHODS |= VARIATIONS
