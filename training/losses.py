"""What stage 1 minimises, and the two-stream score in torch (reference: `mkt_search.scoring`)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ScoreKind = Literal["dot", "cosine", "vocabulary"]
AbsentLabels = Literal["keep", "skip"]
LossOn = Literal["fused", "streams", "both"]


class Streams(NamedTuple):
    """Scores of B photos for L labels, (B, L) each; `fused` is the mean of the two others."""

    global_: Tensor
    local: Tensor
    fused: Tensor


def two_stream_scores(
    labels: Tensor, global_: Tensor, patches: Tensor, *, k: int, kind: ScoreKind = "dot"
) -> Streams:
    """Score photos for labels: labels (L, D), global_ (B, D), patches (B, P, D).

    `dot` takes the vectors as they are, `cosine` scales each to length 1 first, `vocabulary`
    divides each stream of a photo by its norm over the labels, as the paper does.
    """
    if kind == "cosine":
        global_, patches = (functional.normalize(x, dim=-1) for x in (global_, patches))
    by_global = global_ @ labels.T  # (B, L)
    by_patch = patches @ labels.T  # (B, P, L)
    local = by_patch.topk(min(k, patches.shape[1]), dim=1).values.mean(dim=1)  # (B, L)
    if kind == "vocabulary":
        by_global, local = (functional.normalize(x, dim=-1) for x in (by_global, local))
    return Streams(by_global, local, (by_global + local) / 2)


def ranking_loss(
    scores: Tensor, targets: Tensor, *, margin: float = 1.0, absent: AbsentLabels = "keep"
) -> Tensor:
    """Return how far negatives come within `margin` of positives, over all pairs of each photo.

    A photo's loss is the sum of margin + s_n - s_p over its violating pairs (those where that is
    above 0) divided by their number; the result is the mean over photos that have a positive
    (BiAM, https://github.com/akshitac8/BiAM). 0 where there is none.

    Args:
        scores: (B, L).
        targets: (B, L), +1 / -1 / 0 for positive / negative / unknown.
        margin: how much a positive must score above a negative.
        absent: `skip` leaves out labels that no photo of the batch shows.
    """
    has_positive = (targets > 0).any(dim=1)
    scores, targets = scores[has_positive], targets[has_positive]
    if absent == "skip":
        present = (targets > 0).any(dim=0)
        scores, targets = scores[:, present], targets[:, present]
    if not len(targets):
        return scores.sum() * 0
    # positives side by side, so that memory grows with B x (most positives of a photo) x L
    most = int((targets > 0).sum(dim=1).max())
    is_positive, columns = (targets > 0).int().topk(most, dim=1)  # (B, p)
    positive = scores.gather(1, columns)  # (B, p)
    pairs = is_positive.bool()[:, :, None] & (targets < 0)[:, None, :]  # (B, p, L)
    violation = (margin + scores[:, None, :] - positive[:, :, None]).clamp_min(0) * pairs
    count = (violation > 0).sum(dim=(1, 2)).clamp_min(1)
    return (violation.sum(dim=(1, 2)) / count).mean()


def goals(targets: Tensor, labels: Tensor) -> Tensor:
    """Return (B, D): the sum of each photo's positive label vectors, scaled to length 1."""
    return functional.normalize((targets > 0).to(labels.dtype) @ labels, dim=-1)


def regression_loss(global_: Tensor, patches: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared distance of both streams to the photo's goal, one added to the other.

    It keeps the vectors where unseen labels can be read from them; the ranking loss alone moves
    them wherever seen labels separate best.

    Args:
        global_: (B, D), not scaled.
        patches: (B, P, D), not scaled.
        targets: (B, L); photos without a positive are left out.
        labels: (L, D), unit rows.
    """
    chosen = (targets > 0).any(dim=1)
    if not chosen.any():
        return global_.sum() * 0
    goal = goals(targets[chosen], labels)
    by_global = (global_[chosen] - goal).square().sum(dim=-1).mean()
    by_patch = (patches[chosen] - goal[:, None]).square().sum(dim=-1).mean()
    return by_global + by_patch


def ranking_on(
    streams: Streams,
    targets: Tensor,
    *,
    on: LossOn,
    scale: float,
    margin: float,
    absent: AbsentLabels,
) -> Tensor:
    """Return the ranking loss of the fused score, of each stream, or of all three (their mean)."""
    chosen = {
        "fused": [streams.fused],
        "streams": [streams.global_, streams.local],
        "both": [streams.global_, streams.local, streams.fused],
    }[on]
    losses = [ranking_loss(s * scale, targets, margin=margin, absent=absent) for s in chosen]
    return torch.stack(losses).mean()
