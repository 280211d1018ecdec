"""Patch vectors from the last attention layer of a ViT that was trained on its class token alone.

CLIP trains one token, the class token, so nothing keeps the other tokens of the last block in
their places: they tell what the photo shows, not where. The values of the last attention, projected
as the class token's are, are local and in the space of the labels:

    value   out_proj(v), the value path (Zhou et al., MaskCLIP, ECCV 2022;
            https://arxiv.org/abs/2112.01071)
    kk      out_proj(softmax(k k^T / sqrt(d) + window) v): patches whose keys are alike share their
            values, near ones more (Hajimiri et al., NACLIP, WACV 2025;
            https://arxiv.org/abs/2404.08181)

Both without the block's residual and MLP (Lan et al., ClearCLIP, ECCV 2024;
https://arxiv.org/abs/2407.12442), and without the class token, for which the block is as it was.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from open_clip.transformer import ResidualAttentionBlock
from timm.layers.attention import Attention
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block
from timm.models.vision_transformer_relpos import RelPosAttention, RelPosBlock
from torch import Tensor, nn
from torch.nn import functional

from mkt_search.types import PatchVectors

WINDOW = 5 / 14
"""Standard deviation of the window, in sides of the grid: NACLIP's 5 patches of 14."""

_TIMM_BLOCKS = {Block: Attention, RelPosBlock: RelPosAttention}
_EVA_BLOCKS = (EvaBlock, EvaBlockPostNorm)


class Call(NamedTuple):
    """One call of a module: its first argument, its keywords and its result."""

    given: Tensor
    keywords: dict[str, Any]
    result: Tensor


@contextmanager
def watched(module: nn.Module) -> Iterator[list[Call]]:
    """Yield a list to which every call of a module is appended, if this thread made it."""
    thread, calls = threading.get_ident(), list[Call]()

    def note(_: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        if threading.get_ident() == thread:
            calls.append(Call(given[0], keywords, result))

    handle = module.register_forward_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def gaussian_window(grid: tuple[int, int]) -> Tensor:
    """Return (P, P): what each patch adds to the logits of the others, 1 for itself."""
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in grid)
    places = torch.cartesian_prod(rows, columns)  # (P, 2)
    squared = (places[:, None] - places[None]).square().sum(dim=-1)
    return torch.exp(-squared / (2 * (WINDOW * max(grid)) ** 2))


def why_not_corrected(block: nn.Module) -> str:
    """Return in words why `corrected` cannot read a block; "" if it can."""
    if type(block) is ResidualAttentionBlock:
        return ""
    attention: Any = getattr(block, "attn", None)
    is_known = type(block) in _EVA_BLOCKS and type(attention) is EvaAttention
    if not is_known and _TIMM_BLOCKS.get(type(block)) is not type(attention):
        return f"its last block is a {type(block).__name__} of {type(attention).__name__}"
    if not isinstance(attention.k_norm, nn.Identity):
        return "its last block norms queries and keys"
    return ""


def corrected(block: Any, call: Call, form: PatchVectors, *, prefix: int, window: Tensor) -> Tensor:
    """Return the tokens (B, P, C) of the patches after the last block, in a corrected form.

    Args:
        block: the last block, for which `why_not_corrected` is "".
        call: the call of it.
        form: "value" or "kk".
        prefix: number of tokens before the patches.
        window: (P, P), `gaussian_window`.
    """
    tokens = call.given[:, prefix:]
    if isinstance(block, ResidualAttentionBlock):
        attention = block.attn
        keys, values = functional.linear(
            block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias
        ).chunk(3, dim=-1)[1:]
        keys, values = (_by_head(part, attention.num_heads) for part in (keys, values))
        return block.ls_1(attention.out_proj(_attend(keys, values, form, window)))  # type: ignore[no-any-return]
    attention = block.attn
    is_post_norm = isinstance(block, EvaBlockPostNorm)
    inputs = tokens if is_post_norm else block.norm1(tokens)
    keys, values = _keys_and_values(attention, inputs)
    rope = call.keywords.get("rope")
    if rope is not None and form == "kk":
        keys = apply_rot_embed_cat(keys, rope, half=attention.rotate_half).type_as(values)
    mixed = getattr(attention, "norm", nn.Identity())(_attend(keys, values, form, window))
    gate = getattr(attention, "gate", None)
    out = attention.proj(mixed if gate is None else mixed * gate(inputs).sigmoid())
    if isinstance(block, _EVA_BLOCKS):
        out = block.norm1(out) if is_post_norm else out
        gamma = getattr(block, "gamma_1", None)
        return out if gamma is None else gamma * out  # type: ignore[no-any-return]
    return block.ls1(out)  # type: ignore[no-any-return]


def _keys_and_values(attention: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the keys and values (B, heads, P, d) of a timm attention."""
    if attention.qkv is None:
        parts = [attention.k_proj(inputs), attention.v_proj(inputs)]
    else:
        bias = attention.qkv.bias
        if getattr(attention, "q_bias", None) is not None:  # EVA's, apart from the layer's
            bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        parts = list(functional.linear(inputs, attention.qkv.weight, bias).chunk(3, dim=-1)[1:])
    keys, values = (_by_head(part, attention.num_heads) for part in parts)
    return keys, values


def _by_head(part: Tensor, heads: int) -> Tensor:
    """Reshape (B, P, heads * d) -> (B, heads, P, d)."""
    batch, patches, _ = part.shape
    return part.reshape(batch, patches, heads, -1).transpose(1, 2)


def _attend(keys: Tensor, values: Tensor, form: PatchVectors, window: Tensor) -> Tensor:
    """Return (B, P, heads * d): the values, or for "kk" their means by the likeness of keys."""
    if form == "kk":
        mask = window.to(values.dtype)
        values = functional.scaled_dot_product_attention(keys, keys, values, attn_mask=mask)
    return values.transpose(1, 2).flatten(2)
