"""Label -> vector through a CLIP text tower, in a prompt whose context may have been learned.

A label stands in a template such as "There is a {} in the scene". The embeddings of the template's
own tokens are the context: with none learned, the vector is open_clip's `encode_text` of the filled
template, exactly; learned, they take the place of the context tokens, while the label's tokens, the
special tokens and the tower stay as they are (MKT, https://arxiv.org/abs/2207.01887).
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
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

BATCH = 256  # labels through the tower at a time


def prompt_fingerprint(tower: str, template: str, context: Tensor | None, lengths: Lengths) -> str:
    """Return 12 hex digits over a prompted text tower, from the fingerprint of the tower alone.

    Args:
        tower: fingerprint of the tower's weights.
        template: text with one "{}" for the label.
        context: (C, W), the learned context, if there is one.
        lengths: as `PromptedTextEncoder` has it.
    """
    digest = hashlib.sha256(f"{tower}\0{template}\0".encode())
    if context is not None:
        digest.update(context.detach().float().cpu().numpy().tobytes())
    if lengths == "own":
        digest.update(b"own lengths")
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Prompts:
    """L labels in their template: `ids` (L, T) and `is_context` (L, T), where its tokens stand."""

    ids: Tensor
    is_context: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice | Tensor) -> "Prompts":
        return Prompts(self.ids[rows], self.is_context[rows])


class PromptedTextEncoder:
    """A text tower as `LabelEncoder`.

    Args:
        model: an open_clip model, of which only the text tower is used.
        tokenizer: its tokenizer, texts -> ids (L, T).
        template: text with one "{}" for the label.
        tower: fingerprint of the tower's weights, a part of this encoder's own.
        context: (C, W), the learned embeddings of the C context tokens; None leaves the template's.
        lengths: "one" makes every vector one long; "own" keeps the lengths that the tower gives,
            in units of that of the word "label".

    Raises:
        ModelError: the template has not exactly one "{}", or the context is for another one.
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
        if template.count("{}") != 1:
            raise ModelError(f'the template "{template}" needs exactly one {{}} for the label')
        self.template = template
        self._tower = tower
        self._model = model.to(device).eval()
        self._device: torch.device | str = device
        self._embedding = _token_embedding(model)
        self._layout = _Layout(tokenizer, template)
        self.context = None if context is None else context.to(device)
        if self.context is not None:
            self._check(self.context)
        word = self._encode(["label"])  # (1, D)
        self.dim = word.shape[1]
        self._length = float(np.linalg.norm(word)) if lengths == "own" else None

    @property
    def fingerprint(self) -> str:
        """12 hex digits over the tower, the template and the learned context."""
        lengths: Lengths = "one" if self._length is None else "own"
        return prompt_fingerprint(self._tower, self.template, self.context, lengths)

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32, long as `lengths` says. Raises ModelError for a label too long."""
        if not labels:
            return np.zeros((0, self.dim), np.float32)
        vectors = self._encode(labels)
        return unit(vectors) if self._length is None else vectors / np.float32(self._length)

    @torch.inference_mode()
    def _encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32, as the tower gives them."""
        batches = [labels[start : start + BATCH] for start in range(0, len(labels), BATCH)]
        vectors = [self.vectors(batch, self.context).float().cpu() for batch in batches]
        return torch.cat(vectors).numpy()

    def vectors(self, labels: Sequence[str], context: Tensor | None = None) -> Tensor:
        """Return (L, D) unnormalised, through which gradients reach the context (C, W)."""
        if context is None:
            return self._encode_text(self._layout.tokens(labels))
        return self.prompted(self.prompts(labels), context)

    def prompts(self, labels: Sequence[str]) -> Prompts:
        """Return the labels in the template, for `prompted`.

        Raises:
            ModelError: a label is too long, or cannot be told from the words around it; the text
                names it.
        """
        ids = self._layout.tokens(labels)
        return Prompts(ids, self._layout.context_positions(labels, ids))

    def trimmed(self, prompts: Prompts) -> Prompts:
        """Return the prompts without the padding that all have, where the tower can do without.

        A tower whose tokens see only those before them gives the same vectors, but for rounding,
        and is as many times faster as the prompts are shorter than what it can read.
        """
        if not _is_causal(self._model):
            return prompts
        is_used = (prompts.ids != self._layout.padding).any(dim=0)
        end = int(is_used.nonzero()[-1]) + 1
        return Prompts(prompts.ids[:, :end], prompts.is_context[:, :end])

    def prompted(self, prompts: Prompts, context: Tensor) -> Tensor:
        """Return (L, D) unnormalised: the prompts with `context` (C, W) as their context."""
        is_context = prompts.is_context[..., None].to(self._device)  # (L, T, 1)

        def put_context(_module: nn.Module, _ids: Any, embedded: Tensor) -> Tensor:
            wanted = context.to(embedded.dtype).expand(len(prompts), *context.shape)
            return embedded.masked_scatter(is_context, wanted)

        handle = self._embedding.register_forward_hook(put_context)
        try:
            return self._encode_text(prompts.ids)
        finally:
            handle.remove()

    def scaled(self, vectors: Tensor) -> Tensor:
        """Return the tower's vectors (L, D) as long as `lengths` says; gradients pass through."""
        if self._length is None:
            return functional.normalize(vectors, dim=-1)
        return vectors / self._length

    def template_context(self) -> Tensor:
        """Return (C, W): the template's own token embeddings, where learning starts."""
        ids = self._layout.tokens(["label"])
        mask = self._layout.context_positions(["label"], ids)
        return self._embedding(ids[mask].to(self._device)).detach().clone()  # type: ignore[no-any-return]

    def freeze(self) -> None:
        """Let gradients pass through the tower to a context, and reach none of its weights."""
        self._model.requires_grad_(False)

    def to(self, device: torch.device | str) -> "PromptedTextEncoder":
        """Move the tower, and the context if there is one; return this encoder."""
        self._device = device
        self._model.to(device)
        self.context = None if self.context is None else self.context.to(device)
        return self

    def _encode_text(self, ids: Tensor) -> Tensor:
        with _reading(self._model, ids.shape[1]):
            return self._model.encode_text(ids.to(self._device))  # type: ignore[no-any-return]

    def _check(self, context: Tensor) -> None:
        wanted = tuple(self.template_context().shape)
        if tuple(context.shape) != wanted:
            raise ModelError(
                f"the learned context {tuple(context.shape)} does not fit the template"
                f' "{self.template}" in this text tower, which wants {wanted}'
            )


class _Layout:
    """Where the label and the context stand in a filled template, found by asking the tokenizer."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._length = int(tokenizer.context_length)
        empty, word = tokenizer(["", "photo"])
        self.padding = int(empty[-1])
        self._specials = self._count(empty)  # start and end tokens that even an empty text has
        self._start = int((empty != word).nonzero()[0])  # special tokens before the text
        left, right = template.split("{}")
        self._left, self._right = self._content(left), self._content(right)

    def tokens(self, labels: Sequence[str]) -> Tensor:
        """Return the ids (L, T) of the filled templates. Raises ModelError if one is too long."""
        filled = [self._template.replace("{}", label) for label in labels]
        longer = self._tokenizer(filled, context_length=self._length + 2)
        too_long = (longer[:, self._length] != self.padding).nonzero().flatten()
        if len(too_long):
            label = labels[int(too_long[0])]
            raise ModelError(
                f'the label "{label[:60]}..." is too long: with its prompt it has more than the'
                f" {self._length} tokens that the text tower reads; shorten it"
            )
        return self._tokenizer(filled)  # type: ignore[no-any-return]

    def context_positions(self, labels: Sequence[str], ids: Tensor) -> Tensor:
        """Return (L, T) bool: the places of the context tokens, the same number in every row.

        Raises:
            ModelError: the tokenizer melts a label together with the words around it.
        """
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for row, label in enumerate(labels):
            end = self._start + self._count(ids[row]) - self._specials
            left = slice(self._start, self._start + len(self._left))
            right = slice(end - len(self._right), end)
            if ids[row, left].tolist() != self._left or ids[row, right].tolist() != self._right:
                raise ModelError(
                    f'the label "{label}" cannot be told from its prompt "{self._template}"'
                )
            mask[row, left] = mask[row, right] = True
        return mask

    def _content(self, text: str) -> list[int]:
        """The ids of a text without special tokens and padding."""
        ids = self._tokenizer([text])[0]
        end = self._start + self._count(ids) - self._specials
        return [int(i) for i in ids[self._start : end]]

    def _count(self, ids: Tensor) -> int:
        """How many tokens stand before the padding."""
        kept = (ids != self.padding).nonzero()
        return int(kept[-1]) + 1 if len(kept) else 0


def _is_causal(model: Any) -> bool:
    """True for a text tower in which what follows a label's last token changes nothing."""
    tower = getattr(model, "text", model)
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", ""))
    is_plain = getattr(tower, "cls_emb", None) is None and pool in ("argmax", "eos")
    return is_plain and getattr(tower, "attn_mask", None) is not None


@contextlib.contextmanager
def _reading(model: Any, length: int) -> Iterator[None]:
    """Let a causal tower read texts of `length` tokens, fewer than it is made for."""
    tower = getattr(model, "text", model)
    places = getattr(tower, "positional_embedding", None)
    if places is None or length == len(places):
        yield
        return
    mask = tower.attn_mask
    tower.positional_embedding = nn.Parameter(places[:length], requires_grad=False)
    tower.attn_mask = mask[:length, :length]
    try:
        yield
    finally:
        tower.positional_embedding, tower.attn_mask = places, mask


def _token_embedding(model: Any) -> nn.Module:
    """The module that turns ids into embeddings, wherever this kind of tower keeps it."""
    tower = getattr(model, "text", model)
    if hasattr(tower, "token_embedding"):
        return tower.token_embedding  # type: ignore[no-any-return]
    return tower.transformer.get_input_embeddings()  # type: ignore[no-any-return]
