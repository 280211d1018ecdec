"""The losses of both stages, and the two-stream score in torch (see `mkt_search.scoring`)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.runs.processes import ALONE, Processes

ScoreKind = Literal["dot", "cosine", "vocabulary"]
AbsentLabels = Literal["keep", "skip"]
LossOn = Literal["fused", "global", "local", "streams", "both"]
DistillOn = Literal["raw", "unit"]


@dataclass(frozen=True)
class RankingSpec:
    """The ranking loss over two-stream scores.

    Args:
        score: how a photo's vectors are scaled before they meet the labels; `two_stream_scores`.
        scale: factor of the scores before the margin.
        margin: how much a positive must score above a negative.
        absent: `skip` leaves out labels that no photo of the batch shows.
        on: the scores that are ranked: fused, those of one stream, of each stream, or both (the
            mean of all three losses).
    """

    score: ScoreKind = "cosine"
    scale: float = 10.0
    margin: float = 1.0
    absent: AbsentLabels = "keep"
    on: LossOn = "fused"


@dataclass(frozen=True)
class LossSpec:
    """The loss of stage 1: ranking + regression x R + distill x L_dist + distill_patches x P.

    Args:
        k: best patches averaged by the local stream.
        ranking: the ranking loss.
        regression: weight of `regression_loss`; 0 leaves it out.
        distill: weight of `distillation_loss`; 0 leaves it out.
        distill_on: compare vectors as they are (`raw`) or their directions (`unit`).
        distill_patches: weight of `patch_distillation_loss`; 0 leaves it out.
    """

    k: int
    ranking: RankingSpec = RankingSpec()
    regression: float = 0.0
    distill: float = 0.0
    distill_on: DistillOn = "raw"
    distill_patches: float = 0.0


class Streams(NamedTuple):
    """Scores (B, L) of B photos for L labels; `fused` is the mean of the two others."""

    global_scores: Tensor
    local_scores: Tensor
    fused: Tensor


def two_stream_scores(
    labels: Tensor, global_vectors: Tensor, patches: Tensor, *, k: int, kind: ScoreKind = "dot"
) -> Streams:
    """Score photos for labels.

    Args:
        labels: (L, D).
        global_vectors: (B, D).
        patches: (B, P, D).
        k: best patches averaged by the local stream.
        kind: `dot` takes the vectors as they are, `cosine` scales each to length 1 first, and
            `vocabulary` divides each stream of a photo by its norm over the labels, as the paper
            does.
    """
    if kind == "cosine":
        global_vectors, patches = (
            functional.normalize(x, dim=-1) for x in (global_vectors, patches)
        )
    by_global = global_vectors @ labels.T  # (B, L)
    by_patch = patches @ labels.T  # (B, P, L)
    by_local = by_patch.topk(min(k, patches.shape[1]), dim=1).values.mean(dim=1)  # (B, L)
    return fuse(by_global, by_local, kind=kind)


def fuse(global_scores: Tensor, local_scores: Tensor, *, kind: ScoreKind) -> Streams:
    """Return both streams (B, L) and their mean; for `vocabulary`, divided by their norms first."""
    if kind == "vocabulary":
        global_scores, local_scores = (
            functional.normalize(x, dim=-1) for x in (global_scores, local_scores)
        )
    return Streams(global_scores, local_scores, (global_scores + local_scores) / 2)


def ranking_loss(
    scores: Tensor,
    targets: Tensor,
    *,
    margin: float = 1.0,
    absent: AbsentLabels = "keep",
    max_positives: int | None = None,
    processes: Processes = ALONE,
) -> Tensor:
    """Return the mean violation of `margin` over all (positive, negative) pairs of each photo.

    A photo's loss is the sum of margin + s_n - s_p over the pairs where that is above 0, divided by
    their number; the result is the mean over photos that have a positive, and 0 without any
    (BiAM, https://github.com/akshitac8/BiAM).

    Args:
        scores: (B, L).
        targets: (B, L), +1 / -1 / 0 for positive / negative / unknown.
        margin: how much a positive must score above a negative.
        absent: `skip` leaves out labels that no photo of the batch shows.
        max_positives: the most positives of any photo, or more; None counts them, which waits for
            a GPU.
        processes: the batch is that of all of them, the result this one's share of the loss.
    """
    is_positive, is_negative = targets > 0, targets < 0  # (B, L)
    if absent == "skip":
        is_negative = is_negative & processes.any(is_positive.any(dim=0))
    photos = processes.sum(is_positive.any(dim=1).sum()).clamp_min(1)
    if max_positives is None:
        max_positives = count_max_positives(targets)
    if not max_positives:
        return scores.sum() * 0
    # Gather positives side by side: memory grows with B x (most positives of a photo) x L.
    is_filled, columns = is_positive.int().topk(max_positives, dim=1)  # (B, p)
    positive = scores.gather(1, columns)  # (B, p)
    pairs = is_filled.bool()[:, :, None] & is_negative[:, None, :]  # (B, p, L)
    violation = (margin + scores[:, None, :] - positive[:, :, None]).clamp_min(0) * pairs
    count = (violation > 0).sum(dim=(1, 2)).clamp_min(1)
    by_photo = violation.sum(dim=(1, 2)) / count  # (B,), 0 for a photo without a positive
    return by_photo.sum() / photos


def count_max_positives(targets: Tensor) -> int:
    """Return the number of positives of the photo that has most; targets (B, L)."""
    return int((targets > 0).sum(dim=1).max()) if len(targets) else 0


def ranking_loss_of(
    streams: Streams,
    targets: Tensor,
    spec: RankingSpec,
    *,
    max_positives: int | None = None,
    processes: Processes = ALONE,
) -> Tensor:
    """Return the ranking loss of the scores that `spec.on` names; targets (B, L)."""
    ranked = {
        "fused": [streams.fused],
        "global": [streams.global_scores],
        "local": [streams.local_scores],
        "streams": [streams.global_scores, streams.local_scores],
        "both": [streams.global_scores, streams.local_scores, streams.fused],
    }[spec.on]
    if max_positives is None:
        max_positives = count_max_positives(targets)
    losses = [
        ranking_loss(
            scores * spec.scale,
            targets,
            margin=spec.margin,
            absent=spec.absent,
            max_positives=max_positives,
            processes=processes,
        )
        for scores in ranked
    ]
    return torch.stack(losses).mean()


def label_targets(targets: Tensor, labels: Tensor) -> Tensor:
    """Return (B, D): the sum of each photo's positive label vectors, scaled to length 1.

    Args:
        targets: (B, L).
        labels: (L, D).
    """
    return functional.normalize((targets > 0).to(labels.dtype) @ labels, dim=-1)


def regression_loss(
    global_vectors: Tensor,
    patches: Tensor,
    targets: Tensor,
    labels: Tensor,
    *,
    on: LossOn = "fused",
    processes: Processes = ALONE,
) -> Tensor:
    """Return the mean squared distance of both streams to the photo's label target, summed.

    It keeps the vectors where unseen labels can be read from them; the ranking loss alone moves
    them to wherever seen labels separate best.

    Args:
        global_vectors: (B, D), not normalized.
        patches: (B, P, D), not normalized.
        targets: (B, L); photos without a positive are left out.
        labels: (L, D).
        on: `global` or `local` takes that stream alone.
        processes: as for `ranking_loss`.
    """
    has_positive = (targets > 0).any(dim=1)  # (B,)
    goal = label_targets(targets, labels)  # (B, D)
    by_global = (global_vectors - goal).square().sum(dim=-1)  # (B,)
    by_patch = (patches - goal[:, None]).square().sum(dim=-1).mean(dim=1)  # (B,)
    distance = {"global": by_global, "local": by_patch}.get(on, by_global + by_patch)
    return _mean_where(distance, has_positive, processes)


def distillation_loss(
    global_vectors: Tensor,
    teacher: Tensor,
    is_known: Tensor,
    *,
    on: DistillOn = "raw",
    processes: Processes = ALONE,
) -> Tensor:
    """Return the mean absolute difference between the student's global vectors and the teacher's.

    That is the L1 distance over D divided by D, averaged over photos. `raw` compares the vectors
    with their lengths, as the authors' code does (https://github.com/sunanhe/MKT); `unit` scales
    both to length 1 first and leaves the length to the other losses.

    Args:
        global_vectors: (B, D), not normalized.
        teacher: (B, D), not normalized.
        is_known: (B,), False for photos without a teacher's vector, which are left out.
        on: `raw` or `unit`, see above.
        processes: as for `ranking_loss`.
    """
    if on == "unit":
        global_vectors, teacher = (
            functional.normalize(x, dim=-1) for x in (global_vectors, teacher)
        )
    return _mean_where((global_vectors - teacher).abs().mean(dim=-1), is_known, processes)


def patch_distillation_loss(
    patches: Tensor, teacher: Tensor, is_known: Tensor, *, processes: Processes = ALONE
) -> Tensor:
    """Return 1 less the mean cosine between the student's patch vectors and the teacher's.

    Args:
        patches: (B, P, D), not normalized.
        teacher: (B, P, D), not normalized.
        is_known: (B,), False for photos that are left out.
        processes: as for `ranking_loss`.
    """
    cosines = functional.cosine_similarity(patches, teacher, dim=-1)  # (B, P)
    return _mean_where(1 - cosines.mean(dim=-1), is_known, processes)


def _mean_where(values: Tensor, chosen: Tensor, processes: Processes) -> Tensor:
    """Return this process's share of the mean of the chosen values (B,), without a GPU sync.

    The mean is over all processes, and 0 where nothing is chosen.
    """
    count = processes.sum(chosen.sum()).clamp_min(1)
    return torch.where(chosen, values, 0).sum() / count
