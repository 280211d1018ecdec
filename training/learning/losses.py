"""What stage 1 minimises, and the two-stream score in torch (reference: `mkt_search.scoring`)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

ScoreKind = Literal["dot", "cosine", "vocabulary"]
AbsentLabels = Literal["keep", "skip"]
LossOn = Literal["fused", "streams", "both"]
DistillOn = Literal["raw", "unit"]


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
    return fuse(by_global, local, kind=kind)


def fuse(by_global: Tensor, local: Tensor, *, kind: ScoreKind) -> Streams:
    """Return the streams (B, L) with their mean; for `vocabulary` over their norms first."""
    if kind == "vocabulary":
        by_global, local = (functional.normalize(x, dim=-1) for x in (by_global, local))
    return Streams(by_global, local, (by_global + local) / 2)


def ranking_loss(
    scores: Tensor,
    targets: Tensor,
    *,
    margin: float = 1.0,
    absent: AbsentLabels = "keep",
    most: int | None = None,
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
        most: the most positives a photo has; None counts them, for which a GPU is waited for.
    """
    shown, ruled_out = targets > 0, targets < 0  # (B, L)
    if absent == "skip":
        ruled_out = ruled_out & shown.any(dim=0)
    most = most_positives(targets) if most is None else most
    if not most:
        return scores.sum() * 0
    # positives side by side, so that memory grows with B x (most positives of a photo) x L
    is_positive, columns = shown.int().topk(most, dim=1)  # (B, p)
    positive = scores.gather(1, columns)  # (B, p)
    pairs = is_positive.bool()[:, :, None] & ruled_out[:, None, :]  # (B, p, L)
    violation = (margin + scores[:, None, :] - positive[:, :, None]).clamp_min(0) * pairs
    count = (violation > 0).sum(dim=(1, 2)).clamp_min(1)
    by_photo = violation.sum(dim=(1, 2)) / count  # (B,), 0 for a photo without a positive
    return by_photo.sum() / shown.any(dim=1).sum()


def most_positives(targets: Tensor) -> int:
    """Return how many labels the photo of a batch shows that shows most; targets (B, L)."""
    return int((targets > 0).sum(dim=1).max()) if len(targets) else 0


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
    chosen = (targets > 0).any(dim=1)  # (B,)
    goal = goals(targets, labels)
    by_global = (global_ - goal).square().sum(dim=-1)
    by_patch = (patches - goal[:, None]).square().sum(dim=-1).mean(dim=1)
    return _mean_over(by_global + by_patch, chosen)


def distillation_loss(
    global_: Tensor, teacher: Tensor, known: Tensor, *, on: DistillOn = "raw"
) -> Tensor:
    """Return the mean absolute difference between a student's global vectors and its teacher's.

    That is the L1 distance over D, averaged over photos. `raw` takes the vectors with their
    lengths, as the authors' code does (https://github.com/sunanhe/MKT); `unit` scales both to
    length 1 first, which asks for the teacher's direction and leaves the length to other losses.

    Args:
        global_: (B, D), not scaled.
        teacher: (B, D), not scaled.
        known: (B,), whether there is a teacher's vector; the other photos are left out.
    """
    if on == "unit":
        global_, teacher = (functional.normalize(x, dim=-1) for x in (global_, teacher))
    return _mean_over((global_ - teacher).abs().mean(dim=-1), known)


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of the chosen values (B,); 0 where none is. Waits for no device."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp_min(1)


def ranking_on(
    streams: Streams,
    targets: Tensor,
    *,
    on: LossOn,
    scale: float,
    margin: float,
    absent: AbsentLabels,
    most: int | None = None,
) -> Tensor:
    """Return the ranking loss of the fused score, of each stream, or of all three (their mean)."""
    chosen = {
        "fused": [streams.fused],
        "streams": [streams.global_, streams.local],
        "both": [streams.global_, streams.local, streams.fused],
    }[on]
    most = most_positives(targets) if most is None else most
    losses = [
        ranking_loss(scores * scale, targets, margin=margin, absent=absent, most=most)
        for scores in chosen
    ]
    return torch.stack(losses).mean()
