"""The score of a photo for a label, written once (MKT, He et al., AAAI 2023; arXiv 2207.01887).

For a label vector z, a photo's global vector g and its local vectors l_1..l_m:

    score(z) = <z, g> + local(z)
    local(z) = the mean of the k best patches
    |g| = 1 - s, |patch| = s, where s is the local stream's share; 1/2 in the paper

Each l_j is either one patch, and local(z) is the mean of the k largest <z, l_j>; or the mean of k
patches, and local(z) is the largest <z, l_j>. All local vectors of a library stand for the same
number of patches (`counts`; 0 marks padding). The weights of the two streams are the lengths of the
stored vectors (`scale`), so no query computes them.
Everything here is numpy on float32 and is the reference that every faster path must equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.types import EQUAL_SHARES, Encoded, Vector

ONE = np.float32(1)
TINY = np.float32(1e-12)  # keeps a zero vector zero instead of dividing by nothing


@dataclass(frozen=True)
class StreamScores:
    """Scores of n photos for L labels, (n, L) each; `fused` is their sum."""

    global_scores: Vector
    local_scores: Vector

    @property
    def fused(self) -> Vector:
        """(n, L): the two-stream score."""
        return np.add(self.global_scores, self.local_scores, dtype=np.float32)


def unit(vectors: Vector, length: np.float32 = ONE) -> Vector:
    """Return vectors (..., D) scaled to length 1, or to another; a zero vector stays zero."""
    lengths = np.sqrt(np.einsum("...d,...d->...", vectors, vectors))  # faster than linalg.norm
    units: Vector = vectors * (length * np.reciprocal(np.maximum(lengths, TINY)))[..., None]
    return units


def mean_of_views(global_vectors: Vector) -> Vector:
    """Return the unit global vector (D,) of a photo from those of its views, (V, D)."""
    return unit(unit(global_vectors).mean(axis=0))


def patch_weights(similarities: Vector, counts: NDArray[Any], k: int) -> Vector:
    """Return the weight of each local vector in the mean of the k best patches.

    Args:
        similarities: (..., m), <z, l_j>.
        counts: (..., m), patches each vector stands for; 0 is padding. Broadcasts.
        k: patches to average. Photos with fewer patches average all they have.

    Returns:
        (..., m) float32; non-negative, sums to 1 along the last axis (to 0 where all is padding).
    """
    is_real = np.broadcast_to(counts > 0, similarities.shape)
    order = np.argsort(np.where(is_real, -similarities, np.inf), axis=-1, kind="stable")
    weights = np.zeros(similarities.shape, np.float32)
    np.put_along_axis(weights, order[..., : _averaged(counts, k)], 1, axis=-1)
    weights *= is_real
    shares: Vector = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1)
    return shares


def top_k_mean(similarities: Vector, counts: NDArray[Any], k: int) -> Vector:
    """Return the mean of the k best patches: (..., m), (..., m) -> (...); 0 where all is padding.

    The vectors that are not padding all stand for the same number of patches.
    """
    m, is_real = similarities.shape[-1], counts > 0
    averaged = min(_averaged(counts, k), m)
    if not averaged:
        return np.zeros(similarities.shape[:-1], np.float32)
    is_padded = not is_real.all()
    ranked = np.where(is_real, similarities, -np.inf) if is_padded else similarities
    if averaged == 1:
        largest: Vector = ranked.max(axis=-1)
        return np.where(largest > -np.inf, largest, 0) if is_padded else largest
    best = np.partition(ranked, m - averaged, axis=-1)[..., m - averaged :]
    if not is_padded:
        mean: Vector = best.mean(axis=-1, dtype=np.float32)
        return mean
    real = np.clip(is_real.sum(axis=-1), 1, averaged).astype(np.float32)
    mean = np.where(best > -np.inf, best, 0).sum(axis=-1, dtype=np.float32) / real
    return mean


def _averaged(counts: NDArray[Any], k: int) -> int:
    """Return how many of the best vectors make up k patches."""
    each = int(counts.max(initial=0))
    return -(-k // max(each, 1))


def score(
    labels: Vector, global_vectors: Vector, local_vectors: Vector, counts: NDArray[Any], *, k: int
) -> StreamScores:
    """Score n photos for L labels: (L, D), (n, D), (n, m, D), counts (n, m) -> two of (n, L)."""
    products = [(global_vectors @ labels.T)[:, None], local_vectors @ labels.T]
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


def of_best_view(scores: StreamScores, views: Sequence[int]) -> StreamScores:
    """Return the scores of n photos, (n, L), from those of all their views, (sum of views, L).

    A photo has for each label the two parts of the view that scores best.

    Args:
        scores: of every view, photo by photo.
        views: (n,), how many views each photo has.
    """
    if len(scores.fused) == len(views):
        return scores
    ends = np.cumsum(views)
    best = np.stack(
        [
            end - number + scores.fused[end - number : end].argmax(axis=0)
            for number, end in zip(views, ends, strict=True)
        ]
    )  # (n, L) rows
    return StreamScores(
        np.take_along_axis(scores.global_scores, best, axis=0),
        np.take_along_axis(scores.local_scores, best, axis=0),
    )


def without_padding(vectors: Vector, counts: NDArray[Any], k: int) -> tuple[Vector, NDArray[Any]]:
    """Replace padding by a real vector where only the best one counts; the scores stay the same.

    `top_k_mean` is then a plain maximum. Where a vector stands for fewer than k patches, and where
    nothing is padded, the arguments come back as they are.

    Args:
        vectors: (n, 1 + m, D): the global vector, then the local ones; padding is zero.
        counts: (n, m), patches each local vector stands for; 0 is padding.
        k: patches to average.
    """
    is_real = counts > 0
    if is_real.all() or counts.max() < k:
        return vectors, counts
    first = 1 + is_real.argmax(axis=1)  # a zero vector where all is padding
    real = vectors[np.arange(len(vectors)), first, None]  # (n, 1, D)
    keep = np.insert(is_real, 0, True, axis=1)  # (n, 1 + m)
    return np.where(keep[..., None], vectors, real), np.full_like(counts, k)


def stream_weights(local_share: float) -> tuple[np.float32, np.float32]:
    """Return the weights of the global and of the local stream; their sum is 1."""
    return np.float32(1 - local_share), np.float32(local_share)


def scale(encoded: Encoded) -> Encoded:
    """Scale e_cls and every patch to the weight of its stream.

    The score is then the weighted mean of two cosines.
    """
    of_global, of_local = stream_weights(encoded.local_share)
    return replace(
        encoded,
        global_vectors=unit(encoded.global_vectors, of_global),
        patches=unit(encoded.patches, of_local),
    )


def weigh(scores: StreamScores, local_share: float) -> StreamScores:
    """Multiply each stream by its weight, so that `fused` is the weighted mean."""
    of_global, of_local = stream_weights(local_share)
    return StreamScores(of_global * scores.global_scores, of_local * scores.local_scores)


def fuse_over_labels(scores: StreamScores, local_share: float = EQUAL_SHARES) -> StreamScores:
    """Divide each stream by its L2 norm over the labels and weigh it: the paper's fusion.

    Only for a fixed label set; with equal shares, a single label would score every photo
    +-1/2 + +-1/2.
    """
    by_global, by_local = (
        np.maximum(np.linalg.norm(stream, axis=1, keepdims=True), TINY)
        for stream in (scores.global_scores, scores.local_scores)
    )
    return weigh(
        StreamScores(scores.global_scores / by_global, scores.local_scores / by_local), local_share
    )
