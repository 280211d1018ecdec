"""The prompt while it learns: scores from its label vectors, and gradients for its context alone.

Every label of a step goes through the text tower with the context that is learned. So that memory
does not grow with the labels, they go in parts: once without gradients, to know how the loss
depends on each score, and once more with them, part by part (after GradCache, Gao et al., 2021,
https://arxiv.org/abs/2101.06983). The gradient is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mkt_search.datasets.dataset import Rows, Targets
from mkt_search.models.student import StudentVectors
from mkt_search.models.text import PromptedTextEncoder
from mkt_search.settings.config import Stage2Config
from training.learning.losses import ScoreKind, fuse, ranking_on, two_stream_scores


class PromptLearner:
    """A prompt that takes steps; the text tower and the tokens of the labels stand still.

    Args:
        encoder: the text tower, on its device; its context, or else its template's, is the start.
        labels: the seen labels.
        config: loss and optimiser settings.
        top_k: best patches averaged by the local stream.
        in_bfloat16: whether the tower computes in bfloat16; the context is float32 always.

    Raises:
        ModelError: a label that the tower cannot read, or not tell from its prompt.
    """

    def __init__(
        self,
        encoder: PromptedTextEncoder,
        labels: Sequence[str],
        config: Stage2Config,
        *,
        top_k: int,
        in_bfloat16: bool = False,
    ) -> None:
        encoder.freeze()
        start = encoder.template_context() if encoder.context is None else encoder.context
        self.context = nn.Parameter(start.detach().float().clone())
        self._encoder = encoder
        self._prompts = encoder.trimmed(encoder.prompts(labels))
        self._config = config
        self._top_k = top_k
        self._in_bfloat16 = in_bfloat16
        self._optimizer = torch.optim.AdamW(
            [self.context], lr=config.lr, weight_decay=config.weight_decay
        )

    def gradient(self, photos: StudentVectors, targets: Tensor, columns: Tensor) -> Tensor:
        """Return the loss of B photos, and leave its gradient in the context.

        Args:
            photos: e_cls (B, D) and e_patch (B, P, D), on the encoder's device.
            targets: (B, L) of all seen labels, on the same device.
            columns: which of the labels take part.
        """
        config = self._config
        chosen = targets[:, columns.to(targets.device)]

        def loss_of(streams: Tensor) -> Tensor:
            return ranking_on(
                fuse(streams[0], streams[1], kind=config.score),
                chosen,
                on=config.loss_on,
                scale=config.score_scale,
                margin=config.margin,
                absent=config.absent_labels,
            )

        def part(rows: Tensor) -> Tensor:
            return self._streams(photos, rows)

        self._optimizer.zero_grad()
        return gradient_in_parts(part, torch.split(columns, config.labels_at_once), loss_of)

    @property
    def is_finite(self) -> bool:
        """True when every number of the gradient is one."""
        return self.context.grad is not None and bool(self.context.grad.isfinite().all())

    def step(self, *, rate: float) -> None:
        """Move the context down its gradient at a learning rate."""
        self._optimizer.param_groups[0]["lr"] = rate
        if self._config.clip_grad:
            nn.utils.clip_grad_norm_([self.context], self._config.clip_grad)
        self._optimizer.step()

    def settle(self) -> PromptedTextEncoder:
        """Return the encoder with the context of now as its own."""
        self._encoder.context = self.context.detach().clone()
        return self._encoder

    def state(self) -> dict[str, Any]:
        """Return all that a later process needs to take the same next step."""
        return {"context": self.context.detach(), "optimizer": self._optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        with torch.no_grad():
            self.context.copy_(state["context"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _streams(self, photos: StudentVectors, columns: Tensor) -> Tensor:
        """(2, B, l): global and local scores of photos for some labels, before they are fused."""
        device = photos.global_.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._in_bfloat16):
            vectors = self._encoder.prompted(self._prompts[columns], self.context)  # (l, D)
        labels = self._encoder.scaled(vectors.float())
        kind: ScoreKind = "cosine" if self._config.score == "cosine" else "dot"
        found = two_stream_scores(labels, *photos, k=self._top_k, kind=kind)
        return torch.stack([found.global_, found.local])


def gradient_in_parts(
    part: Callable[[Tensor], Tensor],
    pieces: Sequence[Tensor],
    loss_of: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return loss_of(whole) and add its gradient to every leaf; `whole` is made of parts.

    Args:
        part: makes the part (..., l) of a piece of l columns, with a graph down to the leaves.
        pieces: the columns, cut into pieces; the graph of one alone is in memory at a time.
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


def columns_of_step(targets: Targets, count: int, rng: np.random.Generator) -> Rows:
    """Return the labels that a step looks at, in order.

    They are all that its photos show, filled up at random to `count`; 0 takes every label.

    Args:
        targets: (B, L) of the step's photos.
    """
    everything = np.arange(targets.shape[1])
    if not count or count >= len(everything):
        return everything
    is_shown = (targets > 0).any(axis=0)
    others = everything[~is_shown]
    more = max(count - int(is_shown.sum()), 0)
    return np.sort(np.concatenate([everything[is_shown], rng.choice(others, more, replace=False)]))
