"""Convert CLIP's image tower to a timm backbone: the same network under timm's tensor names.

A student initialized from its teacher needs the teacher's ViT as a timm model, so that it can be
frozen by blocks and trained with layer-wise decay like any other backbone:

    name, options = timm_backbone_of(visual)
    backbone = create_backbone(name, image_size=visual.image_size, **options)
    backbone.load_state_dict(timm_state(visual))

Then `backbone.forward_features` returns the tower's tokens [cls | patches] after its last norm, and
`projection` is the matrix that CLIP multiplies them by.
"""

from collections.abc import Mapping
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.models.student import check_fit, create_backbone

GELU_VIT = "vit_base_patch16_clip_224"
QUICK_GELU_VIT = "vit_base_patch16_clip_quickgelu_224"
_DEFAULTS: dict[str, Any] = {
    **{"img_size": 224, "patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
    **{"mlp_ratio": 4.0, "init_values": None},
}
"""The options of these two architectures that need not be given."""

_EPS = 1e-5
_NAMES = (  # prefix of a tensor's name in open_clip -> in timm; the first match is used
    ("conv1.", "patch_embed.proj."),
    ("ln_pre.", "norm_pre."),
    ("ln_post.", "norm."),
)
_BLOCK = "transformer.resblocks."
_BLOCK_NAMES = (
    ("ln_1.", "norm1."),
    ("ln_2.", "norm2."),
    ("ls_1.", "ls1."),
    ("ls_2.", "ls2."),
    ("attn.in_proj_", "attn.qkv."),
    ("attn.out_proj.", "attn.proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
)


def timm_backbone_of(visual: Any) -> tuple[str, dict[str, Any]]:
    """Return the timm architecture of an open_clip image tower and its options.

    Pass both to `create_backbone` and to the `Meta` of a checkpoint. Only options that differ from
    the architecture's defaults are returned.

    Raises:
        ModelError: no timm backbone computes the same function; the text says why.
    """
    if isinstance(visual, TimmModel):
        return _trunk_name(visual), {}
    _check_plain(visual)
    block = visual.transformer.resblocks[0]
    height, width = visual.image_size
    options = {
        "img_size": height if height == width else [height, width],
        "patch_size": visual.patch_size[0],
        "embed_dim": visual.conv1.out_channels,
        "depth": len(visual.transformer.resblocks),
        "num_heads": block.attn.num_heads,
        "mlp_ratio": block.mlp.c_fc.out_features / visual.conv1.out_channels,
        "init_values": None if isinstance(block.ls_1, nn.Identity) else _EPS,
    }
    name = QUICK_GELU_VIT if isinstance(block.mlp.gelu, QuickGELU) else GELU_VIT
    return name, {key: value for key, value in options.items() if value != _DEFAULTS[key]}


def timm_state(visual: Any) -> dict[str, Tensor]:
    """Return the weights of a tower under timm's names, without the projection.

    Raises:
        ModelError: no timm backbone computes the same function.
    """
    if isinstance(visual, TimmModel):
        return _trunk_state(visual)
    _check_plain(visual)
    return to_timm_names({n: t for n, t in visual.state_dict().items() if n != "proj"})


def to_timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of CLIP's image tower from OpenAI's names to timm's."""
    renamed = {_timm_name(name): tensor for name, tensor in state.items()}
    if "cls_token" in renamed:
        renamed["cls_token"] = renamed["cls_token"][None, None]  # (C,) -> (1, 1, C)
    if "pos_embed" in renamed:
        renamed["pos_embed"] = renamed["pos_embed"][None]  # (1 + P, C) -> (1, 1 + P, C)
    return renamed


def projection(visual: Any) -> Tensor:
    """Return (D, C): CLIP's projection of the class token, as the weight of a linear layer.

    Raises:
        ModelError: the tower's vectors are not a linear function of one token.
    """
    if isinstance(visual, TimmModel):
        if _is_projected_token(visual):
            return visual.head.proj.weight.detach()  # type: ignore[no-any-return]
        raise ModelError(
            "this tower pools its tokens before it projects them, which no linear head can do;"
            " start the heads at random or with ridge regression"
        )
    _check_plain(visual)
    return visual.proj.detach().T.contiguous()  # type: ignore[no-any-return]


def _is_projected_token(visual: TimmModel) -> bool:
    """Return True if the tower's vector is a linear function of the class token of a timm ViT."""
    head = dict(visual.head.named_children())
    proj = head.get("proj")
    is_linear = isinstance(proj, nn.Linear) and proj.bias is None and set(head) <= {"drop", "proj"}
    trunk = visual.trunk
    is_token = getattr(trunk, "global_pool", "") == "token"
    return is_linear and is_token and isinstance(trunk.fc_norm, nn.Identity)


def _timm_name(name: str) -> str:
    whole = {"class_embedding": "cls_token", "positional_embedding": "pos_embed"}
    if name in whole:
        return whole[name]
    if not name.startswith(_BLOCK):
        return _swap(name, _NAMES)
    depth, _, rest = name.removeprefix(_BLOCK).partition(".")
    return f"blocks.{depth}.{_swap(rest, _BLOCK_NAMES)}"


def _swap(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for theirs, timms in names:
        if name.startswith(theirs):
            return timms + name.removeprefix(theirs)
    return name


def _check_plain(visual: Any) -> None:
    """Raise a ModelError unless timm has the same ViT."""
    why = _difference(visual)
    if why:
        raise ModelError(
            f"no timm backbone computes the same as this image tower: {why}; take the tower of a"
            " plain ViT such as ViT-B-16, or start the student from timm weights"
        )


def _difference(visual: Any) -> str:
    """Return in words how a tower differs from every timm ViT; "" if it does not."""
    if not isinstance(visual, VisionTransformer):
        return f"it is a {type(visual).__name__}"
    if visual.attn_pool is not None:
        return "it pools its patches with queries (CoCa)"
    if visual.pool_type != "tok":
        return "its global vector is a mean of patches, not a class token"
    if isinstance(visual.ln_pre, nn.Identity):
        return "it has no norm before its blocks"
    if any(norm.eps != _EPS for norm in visual.modules() if isinstance(norm, nn.LayerNorm)):
        return f"its norms use an epsilon other than {_EPS}"
    for block in visual.transformer.resblocks:
        if not isinstance(block, ResidualAttentionBlock):
            return f"its blocks are of kind {type(block).__name__}"
        act = block.mlp.gelu
        if not isinstance(act, QuickGELU) and getattr(act, "approximate", "") != "none":
            return f"its activation is {act}"
    return ""


def _trunk_name(visual: TimmModel) -> str:
    """Return the architecture inside a `TimmModel`, after checking that its name rebuilds it."""
    name = str(visual.trunk.pretrained_cfg["architecture"])
    own = _rebuilt(name, visual)
    complaint = f"timm's {name} is not the backbone inside this tower"
    check_fit(own, _kept(visual, own), complaint=complaint)
    return name


def _trunk_state(visual: TimmModel) -> dict[str, Tensor]:
    return _kept(visual, _rebuilt(_trunk_name(visual), visual))


def _rebuilt(name: str, visual: TimmModel) -> dict[str, Tensor]:
    """Return the tensors of a new backbone on the meta device: shapes without memory."""
    with torch.device("meta"):
        return create_backbone(name, image_size=visual.image_size).state_dict()


def _kept(visual: TimmModel, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the trunk's tensors except those of a classifier."""
    return {name: t for name, t in visual.trunk.state_dict().items() if name in own}
