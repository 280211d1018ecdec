"""The prompt while it learns: scores from its label vectors, and gradients for its context alone.

Every label of a step goes through the text tower with the learned context. To keep memory
independent of the number of labels they go in parts: once without gradients, to find how the loss
depends on each score, and once more with them, part by part (after GradCache, Gao et al., 2021,
https://arxiv.org/abs/2101.06983). The gradient is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.datasets.dataset import Rows
from mkt_search.models.student import StudentVectors
from mkt_search.models.text import PromptedTextEncoder
from training.learning.losses import (
    RankingSpec,
    ScoreKind,
    fuse,
    ranking_loss_of,
    two_stream_scores,
)
from training.learning.schedule import OptimizerSpec, WarmupCosine
from training.runs.processes import ALONE, Processes


class PromptLearner:
    """The context of a prompt and its optimizer; the tower and the labels' tokens do not change.

    Args:
        encoder: the text tower, on its device; its context, or else its template's, is the start.
        labels: the seen labels.
        loss: the ranking loss.
        optimizer: how the context is optimized.
        k: best patches averaged by the local stream.
        steps_per_epoch: for the learning rate.
        labels_at_once: labels in the text tower at a time.
        in_bfloat16: run the tower under autocast; the context is always float32.
        processes: that train together; each gives its part of a batch.

    Raises:
        ModelError: a label that the tower cannot read, or cannot tell from its prompt.
    """

    def __init__(
        self,
        encoder: PromptedTextEncoder,
        labels: Sequence[str],
        loss: RankingSpec,
        optimizer: OptimizerSpec,
        *,
        k: int,
        steps_per_epoch: int,
        labels_at_once: int,
        in_bfloat16: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self._processes = processes
        encoder.freeze()
        start = encoder.template_context() if encoder.context is None else encoder.context
        self.context = nn.Parameter(start.detach().float().clone())
        self._encoder = encoder
        self._prompts = encoder.trimmed(encoder.prompts(labels))
        self._loss = loss
        self._k = k
        self._labels_at_once = labels_at_once
        self._in_bfloat16 = in_bfloat16
        self._clip_grad = optimizer.clip_grad
        self._optimizer = torch.optim.AdamW(
            [self.context], lr=optimizer.lr, weight_decay=optimizer.weight_decay
        )
        self._schedule = WarmupCosine(
            [self._optimizer],
            steps=optimizer.epochs * steps_per_epoch,
            warmup=round(optimizer.warmup_epochs * steps_per_epoch),
            lowest=optimizer.min_lr,
        )

    def gradient(self, photos: StudentVectors, targets: Tensor, columns: Tensor) -> Tensor:
        """Return the loss of B photos, and leave its gradient in the context.

        Of several processes each returns its share; the gradient is that of all of them.

        Args:
            photos: e_cls (B, D) and e_patch (B, P, D), on the encoder's device.
            targets: (B, L) of all seen labels, on the same device.
            columns: the labels that take part.
        """
        chosen = targets[:, columns.to(targets.device)]  # (B, l)

        def loss_of(streams: Tensor) -> Tensor:
            fused = fuse(streams[0], streams[1], kind=self._loss.score)
            return ranking_loss_of(fused, chosen, self._loss, processes=self._processes)

        def scores_of(some: Tensor) -> Tensor:
            return self._stream_scores(photos, some)

        self._optimizer.zero_grad()
        pieces = torch.split(columns, self._labels_at_once)
        loss = gradient_in_parts(scores_of, pieces, loss_of)
        self._processes.add_gradients([self.context])
        return loss

    def is_finite(self) -> bool:
        """Return True when the gradient is there and finite."""
        return self.context.grad is not None and bool(self.context.grad.isfinite().all())

    def step(self, number: int) -> float:
        """Take step `number` of the run, counted from 0; return its learning rate."""
        self._schedule.set_rate(number)
        if self._clip_grad:
            nn.utils.clip_grad_norm_([self.context], self._clip_grad)
        self._optimizer.step()
        return float(self._optimizer.param_groups[0]["lr"])

    def frozen_prompt(self) -> PromptedTextEncoder:
        """Return the encoder with a copy of the current context."""
        self._encoder.context = self.context.detach().clone()
        return self._encoder

    def state(self) -> dict[str, Any]:
        """Return everything that a later process needs to take the same next step."""
        return {"context": self.context.detach(), "optimizer": self._optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        with torch.no_grad():
            self.context.copy_(state["context"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _stream_scores(self, photos: StudentVectors, columns: Tensor) -> Tensor:
        """Return (2, B, l): global and local scores of photos for some labels, not yet fused."""
        global_vectors, patches = photos
        device = global_vectors.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._in_bfloat16):
            vectors = self._encoder.prompted(self._prompts[columns], self.context)  # (l, D)
        labels = self._encoder.scaled(vectors.float())  # (l, D)
        kind: ScoreKind = "cosine" if self._loss.score == "cosine" else "dot"
        found = two_stream_scores(labels, global_vectors, patches, k=self._k, kind=kind)
        return torch.stack([found.global_scores, found.local_scores])


def gradient_in_parts(
    part: Callable[[Tensor], Tensor],
    pieces: Sequence[Tensor],
    loss_of: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return loss_of(whole), and add its gradient to every leaf; `whole` is computed in parts.

    Args:
        part: columns (l,) -> their part (..., l) of the whole, with a graph down to the leaves.
        pieces: the columns in pieces; the graph of one piece at a time is in memory.
        loss_of: the loss of all parts joined along the last axis.
    """
    if len(pieces) == 1:
        loss = loss_of(part(pieces[0]))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    with torch.no_grad():
        whole = torch.cat([part(piece) for piece in pieces], dim=-1)
    whole.requires_grad_()
    loss = loss_of(whole)
    (slope,) = torch.autograd.grad(loss, whole)
    slopes = torch.split(slope, [len(piece) for piece in pieces], dim=-1)
    for piece, slope in zip(pieces, slopes, strict=True):
        part(piece).backward(slope)  # type: ignore[no-untyped-call]
    return loss.detach()


def labels_of_step(is_shown: NDArray[np.bool_], count: int, rng: np.random.Generator) -> Rows:
    """Return the columns of the labels that a step looks at, sorted.

    They are all that its photos show, filled up at random to `count`; 0 takes every label.

    Args:
        is_shown: (L,), the labels that the step's photos show.
    """
    columns = np.arange(len(is_shown))
    if not count or count >= len(columns):
        return columns
    missing = max(count - int(is_shown.sum()), 0)
    drawn = rng.choice(columns[~is_shown], missing, replace=False)
    return np.sort(np.concatenate([columns[is_shown], drawn]))
