"""Encode labels with a CLIP text tower, in a prompt that may have a learned context.

A template such as "There is a {} in the scene" is filled with the label; its own tokens are the
context. Without a learned context, the vector equals open_clip's `encode_text` of the filled
template. A learned context replaces the embeddings of the context tokens; the label's tokens, the
special tokens and the tower are unchanged (MKT, He et al., AAAI 2023, section 3.3;
https://arxiv.org/abs/2207.01887).
"""

import contextlib
import copy
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mkt_search.errors import ModelError
from mkt_search.scoring import unit
from mkt_search.types import Vector

Lengths = Literal["one", "own"]
Hook = Callable[[nn.Module, Any, Tensor], Tensor]

LABELS_PER_BATCH = 256


def prompt_fingerprint(tower: str, template: str, context: Tensor | None, lengths: Lengths) -> str:
    """Return the fingerprint of a prompted text tower, 12 hex digits, without building the tower.

    Args:
        tower: fingerprint of the tower's weights.
        template: text with one "{}" for the label.
        context: (C, W), the learned context, or None.
        lengths: as in `PromptedTextEncoder`.
    """
    digest = hashlib.sha256(f"{tower}\0{template}\0".encode())
    if context is not None:
        digest.update(context.detach().float().cpu().numpy().tobytes())
    if lengths == "own":
        digest.update(b"own lengths")
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Prompts:
    """L filled templates: token `ids` (L, T) and `is_context` (L, T), a mask of context tokens."""

    ids: Tensor
    is_context: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice | Tensor) -> "Prompts":
        return Prompts(self.ids[rows], self.is_context[rows])


class PromptedTextEncoder:
    """A `LabelEncoder` that runs a text tower.

    Safe to use from several threads: their forward passes run one after another, because a pass
    with a learned context or with trimmed prompts changes the tower while it runs. Two encoders
    that share a model must not run at the same time.

    Args:
        model: an open_clip model; only its text tower is used.
        tokenizer: its tokenizer, texts -> ids (L, T).
        template: text with one "{}" for the label.
        tower: fingerprint of the tower's weights; it is part of this encoder's fingerprint.
        context: (C, W), the learned embeddings of the C context tokens; None keeps the template's.
        lengths: "one" scales every vector to length 1; "own" keeps the lengths that the tower
            gives, divided by the length for the word "label".
        device: the torch device of the tower.

    Raises:
        ModelError: the template does not have exactly one "{}", or the context does not fit it.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        template: str,
        tower: str,
        context: Tensor | None = None,
        lengths: Lengths = "one",
        device: torch.device | str = "cpu",
    ) -> None:
        _check_template(template)
        self.template = template
        self._tower = tower
        self._model = model.to(device).eval()
        self._device: torch.device | str = device
        self._embedding = _token_embedding(model)
        self._layout = _Layout(tokenizer, template)
        self._lock = threading.Lock()
        self.context = None if context is None else context.to(device)
        if self.context is not None:
            self._check_shape(self.context)
        word = self._encode(["label"])  # (1, D)
        self.dim = word.shape[1]
        self._word_length = float(np.linalg.norm(word))
        self._length = self._word_length if lengths == "own" else None

    def with_template(self, template: str) -> "PromptedTextEncoder":
        """Return an encoder of the same tower with another template and no learned context.

        Raises:
            ModelError: the template does not have exactly one "{}".
        """
        _check_template(template)
        other = copy.copy(self)
        other.template, other.context = template, None
        other._layout = _Layout(self._layout.tokenizer, template)
        return other

    def with_lengths(self, lengths: Lengths) -> "PromptedTextEncoder":
        """Return an encoder of the same tower and prompt that scales as `lengths` says."""
        other = copy.copy(self)
        other._length = self._word_length if lengths == "own" else None
        return other

    @property
    def fingerprint(self) -> str:
        """12 hex digits over the tower, the template and the learned context."""
        lengths: Lengths = "one" if self._length is None else "own"
        return prompt_fingerprint(self._tower, self.template, self.context, lengths)

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32, scaled as `lengths` says.

        Raises:
            ModelError: a label is too long, or with a learned context cannot be separated from its
                prompt.
        """
        if not labels:
            return np.zeros((0, self.dim), np.float32)
        vectors = self._encode(labels)
        return unit(vectors) if self._length is None else vectors / np.float32(self._length)

    @torch.inference_mode()
    def _encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32 as the tower gives them, unscaled."""
        starts = range(0, len(labels), LABELS_PER_BATCH)
        batches = [labels[start : start + LABELS_PER_BATCH] for start in starts]
        vectors = [self.vectors(batch, self.context).float().cpu() for batch in batches]
        return torch.cat(vectors).numpy()

    def vectors(self, labels: Sequence[str], context: Tensor | None = None) -> Tensor:
        """Return (L, D), unscaled; gradients flow to the context (C, W).

        Raises:
            ModelError: a label is too long, or with a context cannot be separated from its prompt.
        """
        if context is None:
            return self._encode_text(self._layout.tokens(labels))
        return self.prompted(self.prompts(labels), context)

    def prompts(self, labels: Sequence[str]) -> Prompts:
        """Return the filled templates of labels, for `prompted`.

        Raises:
            ModelError: a label is too long, or the tokenizer merges it with the words around it;
                the text names it.
        """
        ids = self._layout.tokens(labels)
        return Prompts(ids, self._layout.context_positions(labels, ids))

    def trimmed(self, prompts: Prompts) -> Prompts:
        """Return the prompts without the padding that all of them share, if the tower is causal.

        In a causal tower no token attends to the padding, so the vectors are equal up to rounding,
        and the time falls with the length. Other towers get the prompts unchanged.
        """
        if not _is_causal(self._model):
            return prompts
        is_used = (prompts.ids != self._layout.padding).any(dim=0)
        end = int(is_used.nonzero()[-1]) + 1
        return Prompts(prompts.ids[:, :end], prompts.is_context[:, :end])

    def prompted(self, prompts: Prompts, context: Tensor) -> Tensor:
        """Return (L, D), unscaled: the prompts with `context` (C, W) as their context."""
        is_context = prompts.is_context[..., None].to(self._device)  # (L, T, 1)

        def replace_context(_module: nn.Module, _ids: Any, embedded: Tensor) -> Tensor:
            learned = context.to(embedded.dtype).expand(len(prompts), *context.shape)  # (L, C, W)
            return embedded.masked_scatter(is_context, learned)  # (L, T, W)

        return self._encode_text(prompts.ids, replace_context)

    def scaled(self, vectors: Tensor) -> Tensor:
        """Scale the tower's vectors (L, D) as `lengths` says; gradients pass through."""
        if self._length is None:
            return functional.normalize(vectors, dim=-1)
        return vectors / self._length

    def template_context(self) -> Tensor:
        """Return (C, W): the embeddings of the template's own tokens, the start of learning."""
        ids = self._layout.tokens(["label"])
        mask = self._layout.context_positions(["label"], ids)
        return self._embedding(ids[mask].to(self._device)).detach().clone()  # type: ignore[no-any-return]

    def freeze(self) -> None:
        """Exclude the tower's weights from gradients; those of a context still pass through it."""
        self._model.requires_grad_(False)

    def to(self, device: torch.device | str) -> "PromptedTextEncoder":
        """Move the tower and the learned context to a device; return this encoder."""
        self._device = device
        self._model.to(device)
        self.context = None if self.context is None else self.context.to(device)
        return self

    def _encode_text(self, ids: Tensor, embedding_hook: Hook | None = None) -> Tensor:
        """Run the tower on ids (L, T) -> (L, D); the hook may change the token embeddings."""
        with (
            self._lock,
            _context_length(self._model, ids.shape[1]),
            contextlib.ExitStack() as stack,
        ):
            if embedding_hook:
                handle = self._embedding.register_forward_hook(embedding_hook)
                stack.callback(handle.remove)
            return self._model.encode_text(ids.to(self._device))  # type: ignore[no-any-return]

    def _check_shape(self, context: Tensor) -> None:
        expected = tuple(self.template_context().shape)
        if tuple(context.shape) != expected:
            raise ModelError(
                f"the learned context has the shape {tuple(context.shape)}; the template"
                f' "{self.template}" needs {expected} in this text tower'
            )


def _check_template(template: str) -> None:
    if template.count("{}") != 1:
        raise ModelError(f'the template "{template}" needs exactly one {{}} for the label')


class _Layout:
    """Finds the tokens of the label and of the context in a filled template.

    All offsets are computed with the tokenizer, so any tokenizer of open_clip works.
    """

    def __init__(self, tokenizer: Any, template: str) -> None:
        self.tokenizer = tokenizer
        self._template = template
        self._length = int(tokenizer.context_length)
        empty, word = tokenizer(["", "photo"])
        self.padding = int(empty[-1])
        self._specials = self._count(empty)  # start and end tokens, which an empty text has too
        self._start = int((empty != word).nonzero()[0])  # number of special tokens before the text
        left, right = template.split("{}")
        self._left, self._right = self._content(left), self._content(right)

    def tokens(self, labels: Sequence[str]) -> Tensor:
        """Return the ids (L, T) of the filled templates. Raises ModelError if one is too long.

        The tokenizer truncates silently, so a text is read with room for two more tokens first.
        """
        filled = [self._template.replace("{}", label) for label in labels]
        longer = self.tokenizer(filled, context_length=self._length + 2)
        too_long = (longer[:, self._length] != self.padding).nonzero().flatten()
        if len(too_long):
            number = int(too_long[0])
            raise ModelError(
                f'the label "{labels[number][:60]}..." is too long: with its prompt it has'
                f" {self._count_all(filled[number]):,} tokens, and the text tower reads"
                f" {self._length}; shorten it"
            )
        return self.tokenizer(filled)  # type: ignore[no-any-return]

    def context_positions(self, labels: Sequence[str], ids: Tensor) -> Tensor:
        """Return (L, T) bool: a mask of the context tokens, the same number in every row.

        Raises:
            ModelError: the tokenizer merges a label with the words around it.
        """
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, label in enumerate(labels):
            end = self._start + self._count(ids[row]) - self._specials
            left = slice(self._start, self._start + len(self._left))
            right = slice(end - len(self._right), end)
            if ids[row, left].tolist() != self._left or ids[row, right].tolist() != self._right:
                raise ModelError(
                    f'the tokenizer merges the label "{label}" with its prompt'
                    f' "{self._template}"; write the label another way'
                )
            mask[row, left] = mask[row, right] = True
        return mask

    def _content(self, text: str) -> list[int]:
        """Return the ids of a text without special tokens and padding."""
        ids = self.tokenizer([text])[0]
        end = self._start + self._count(ids) - self._specials
        return [int(i) for i in ids[self._start : end]]

    def _count_all(self, text: str) -> int:
        """Return the number of tokens of a text of any length; none is of less than a byte."""
        longest = self._specials + len(text.encode()) + 1
        return self._count(self.tokenizer([text], context_length=longest)[0])

    def _count(self, ids: Tensor) -> int:
        """Return the number of tokens before the padding."""
        used = (ids != self.padding).nonzero()
        return int(used[-1]) + 1 if len(used) else 0


def _is_causal(model: Any) -> bool:
    """Return True if the vector does not depend on tokens after the end token."""
    tower = getattr(model, "text", model)
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", ""))
    is_plain = getattr(tower, "cls_emb", None) is None and pool in ("argmax", "eos")
    return is_plain and getattr(tower, "attn_mask", None) is not None


@contextlib.contextmanager
def _context_length(model: Any, length: int) -> Iterator[None]:
    """Shorten a causal tower to texts of `length` tokens for a while; not safe for threads."""
    tower = getattr(model, "text", model)
    positions = getattr(tower, "positional_embedding", None)  # (T, W)
    if positions is None or length == len(positions):
        yield
        return
    mask = tower.attn_mask  # (T, T)
    tower.positional_embedding = nn.Parameter(positions[:length], requires_grad=False)
    tower.attn_mask = mask[:length, :length]
    try:
        yield
    finally:
        tower.positional_embedding, tower.attn_mask = positions, mask


def _token_embedding(model: Any) -> nn.Module:
    """Return the module that maps token ids to embeddings, in any of open_clip's text towers."""
    tower = getattr(model, "text", model)
    if hasattr(tower, "token_embedding"):
        return tower.token_embedding  # type: ignore[no-any-return]
    return tower.transformer.get_input_embeddings()  # type: ignore[no-any-return]
