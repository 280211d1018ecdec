"""The score of a photo for a label, written once (MKT, He et al., AAAI 2023; arXiv 2207.01887).

For a label vector z, a photo's global vector g and its local vectors l_1..l_m, of which l_j stands
for n_j patches:

    score(z) = <z, g> + local(z)
    local(z) = the mean of the k best patches, each patch scored as its local vector
             = sum_j w_j <z, l_j>,   w_j k = min(n_j, what is left of k), best vector first

With one vector per patch (n_j = 1) that is the paper's top-k mean; with k-means centroids it weighs
each by its patches; with k-set means (n_j = k) it is the maximum. The factor 1/2 of the paper's
(global + local) / 2 and the scale of each stream are part of the stored vectors (`scale`).
Everything here is numpy on float32 and is the reference that every faster path must equal.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.sorting import sort_planes
from mkt_search.types import Encoded, ScaleRule, Vector

ONE, HALF = np.float32(1), np.float32(0.5)
TINY = np.float32(1e-12)  # keeps a zero vector zero instead of dividing by nothing
RIDER = np.int64((1 << 29) - 1)  # the bits of a float64 that a float32 leaves free
SORTED_TOGETHER = 1 << 16  # similarities: half a megabyte, which stays in the processor's cache


@dataclass(frozen=True)
class StreamScores:
    """Scores of n photos for L labels, (n, L) each; `fused` is their sum."""

    global_: Vector
    local: Vector

    @property
    def fused(self) -> Vector:
        """(n, L): the two-stream score."""
        return np.add(self.global_, self.local, dtype=np.float32)


def unit(vectors: Vector, length: np.float32 = ONE) -> Vector:
    """Return vectors (..., D) scaled to length 1, or to another; a zero vector stays zero."""
    lengths = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))  # faster than linalg.norm
    units: Vector = vectors * (length * np.reciprocal(np.maximum(lengths, TINY)))[..., None]
    return units


def patch_weights(similarities: Vector, counts: NDArray[Any], k: int) -> Vector:
    """Return the weight of each local vector in the mean of the k best patches.

    Args:
        similarities: (..., m), <z, l_j>.
        counts: (..., m), patches each vector stands for; 0 is padding. Broadcasts.
        k: patches to average. Photos with fewer patches average all they have.

    Returns:
        (..., m) float32; non-negative, sums to 1 along the last axis (to 0 where all is padding).
    """
    counts = np.broadcast_to(counts, similarities.shape)
    order = np.argsort(np.where(counts > 0, -similarities, np.inf), axis=-1, kind="stable")
    sorted_counts = np.take_along_axis(counts, order, axis=-1)
    before = np.cumsum(sorted_counts, axis=-1) - sorted_counts
    used = np.clip(k - before, 0, sorted_counts).astype(np.float32)
    weights = np.empty_like(used)
    np.put_along_axis(weights, order, used, axis=-1)
    total = weights.sum(axis=-1, keepdims=True)
    shares: Vector = np.divide(weights, np.maximum(total, 1), dtype=np.float32)
    return shares


def top_k_mean(similarities: Vector, counts: NDArray[Any], k: int) -> Vector:
    """Return the count-weighted mean of the k best patches: (..., m), (..., m) -> (...)."""
    if similarities.shape[-1] == 0:
        return np.zeros(similarities.shape[:-1], np.float32)
    if (counts >= k).all():  # k-set means: the best vector alone fills k
        best: Vector = similarities.max(axis=-1)
        return best
    is_real = counts > 0
    if (counts[is_real] >= k).all():  # the same, some of them padding
        best = np.where(is_real, similarities, -np.inf).max(axis=-1)
        return np.where(is_real.any(axis=-1), best, 0).astype(np.float32)
    if (counts == 1).all():  # one vector per patch: no need to sort the rest
        first = max(similarities.shape[-1] - k, 0)
        chosen = np.partition(similarities, first, axis=-1)[..., first:]
        top: Vector = chosen.mean(axis=-1, dtype=np.float32)
        return top
    counts = np.broadcast_to(counts, similarities.shape)
    if similarities.ndim == 1:
        one: Vector = _weighted_mean(similarities[None], counts[None], k)[0]
        return one
    mean = np.empty(similarities.shape[:-1], np.float32)
    rows = max(1, SORTED_TOGETHER // max(1, math.prod(similarities.shape[1:])))
    for first in range(0, len(mean), rows):
        part = slice(first, first + rows)
        mean[part] = _weighted_mean(similarities[part], counts[part], k)
    return mean


def _weighted_mean(similarities: Vector, counts: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Return the mean of the k best patches where vectors stand for any number of them.

    A float32 leaves the last 29 bits of a float64 free: the count rides there through the sort.
    """
    keys = np.moveaxis(similarities, -1, 0).astype(np.float64, order="C")  # (m, ...)
    keys.view(np.int64)[...] |= np.moveaxis(counts, -1, 0)
    left, total = np.full(keys.shape[1:], k, np.float64), np.zeros(keys.shape[1:])
    for plane in sort_planes(keys):
        bits = plane.view(np.int64)
        used = (bits & RIDER).astype(np.float64)
        bits &= ~RIDER
        np.minimum(used, left, out=used)
        left -= used
        total += np.multiply(used, plane, out=used)
    return total / np.maximum(k - left, 1)


def score(
    labels: Vector, global_: Vector, local_vectors: Vector, counts: NDArray[Any], *, k: int
) -> StreamScores:
    """Score n photos for L labels: (L, D), (n, D), (n, m, D), counts (n, m) -> two of (n, L)."""
    products = [(global_ @ labels.T)[:, None], local_vectors @ labels.T]
    return score_similarities(np.concatenate(products, axis=1), counts, k=k)


def score_similarities(similarities: Vector, counts: NDArray[Any], *, k: int) -> StreamScores:
    """Score n photos from the inner products of their vectors with labels.

    Args:
        similarities: (n, 1 + m, L): of the global vector, then of the local ones.
        counts: (n, m).
        k: patches to average.
    """
    local = np.swapaxes(similarities[:, 1:], 1, 2)  # (n, L, m)
    return StreamScores(similarities[:, 0], top_k_mean(local, counts[:, None, :], k))


def without_padding(vectors: Vector, counts: NDArray[Any], k: int) -> tuple[Vector, NDArray[Any]]:
    """Let padding repeat a real vector, so that the local part is a plain maximum.

    That changes no score where each vector stands for k patches or more: the best alone counts.
    Where one stands for fewer, and where nothing is padded, all comes back as it was.

    Args:
        vectors: (n, 1 + m, D): the global vector, then the local ones; padding is zero.
        counts: (n, m), patches each local vector stands for; 0 is padding.
        k: patches to average.
    """
    is_real = counts > 0
    if is_real.all() or not (counts[is_real] >= k).all():
        return vectors, counts
    n, m = counts.shape
    first = np.argmax(is_real, axis=1)[:, None]  # 0, a zero vector, where all is padding
    which = np.where(is_real, np.arange(m), first) + 1
    rows = np.arange(n)[:, None]
    filled = vectors[rows, np.concatenate([np.zeros_like(first), which], axis=1)]
    return filled, np.full_like(counts, k)


def scale(
    encoded: Encoded, *, rule: ScaleRule, k: int, vocabulary: Vector | None = None
) -> Encoded:
    """Put both streams on one scale and bake in the paper's 1/2: the score is then their sum.

    `cosine`: e_cls and every patch have length 1. `vocabulary`: each stream of a photo is divided
    by the norm of its scores over the reference vocabulary (V, D), which for labels of that
    vocabulary is the paper's score exactly; vectors inside a photo keep their lengths.
    """
    if rule == "cosine":
        return Encoded(unit(encoded.global_, HALF), unit(encoded.patches, HALF))
    if vocabulary is None or not len(vocabulary):
        raise ValueError("the vocabulary rule needs a reference vocabulary")
    ones = np.ones(encoded.patches.shape[:2], np.int64)
    streams = score(vocabulary, encoded.global_, encoded.patches, ones, k=k)
    by_global = 2 * np.maximum(np.linalg.norm(streams.global_, axis=-1), TINY)
    by_local = 2 * np.maximum(np.linalg.norm(streams.local, axis=-1), TINY)
    return Encoded(encoded.global_ / by_global[:, None], encoded.patches / by_local[:, None, None])


def fuse_over_labels(scores: StreamScores) -> StreamScores:
    """Divide each stream by its L2 norm over the labels and halve it: the paper's fusion.

    Only for a fixed label set; a single label would score every photo +-1/2 + +-1/2.
    """
    by_global = 2 * np.maximum(np.linalg.norm(scores.global_, axis=1, keepdims=True), TINY)
    by_local = 2 * np.maximum(np.linalg.norm(scores.local, axis=1, keepdims=True), TINY)
    return StreamScores(scores.global_ / by_global, scores.local / by_local)
