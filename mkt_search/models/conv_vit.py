"""A small ViT with a convolutional stem, as a timm architecture: `conv_vit_mini_64`.

The stem extracts edges and colors, which a plain ViT must learn from more data; the blocks relate
positions to one another (Xiao et al., Early Convolutions Help Transformers See Better, NeurIPS
2021; https://arxiv.org/abs/2106.14881). Importing this module registers the name with timm, and so
with open_clip. The demo's models have this architecture.
"""

from functools import partial
from typing import Any

import torch
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed  # type: ignore[attr-defined]
from torch import Tensor, nn

NAME = "conv_vit_mini_64"
STEM_CHANNELS = (48, 128)  # at 1/4 and 1/8 of the image's resolution
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, per RGB channel on [0, 1]
STD = (0.26862954, 0.26130258, 0.27577711)


class Residual(nn.Module):
    """A residual block of two 3 x 3 convolutions: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.second = _conv(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # starts as the identity

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def conv_stem(dim: int) -> nn.Sequential:
    """Build the stem: (B, 3, H, W) -> (B, dim, H / 8, W / 8)."""
    fine, coarse = STEM_CHANNELS
    return nn.Sequential(
        _conv(3, fine, size=4, stride=4, padding=0),
        nn.ReLU(),
        Residual(fine),
        Residual(fine),
        _conv(fine, coarse, stride=2),
        nn.ReLU(),
        Residual(coarse),
        Residual(coarse),
        nn.Conv2d(coarse, dim, 1),
    )


def _conv(inside: int, out: int, *, size: int = 3, stride: int = 1, padding: int = 1) -> Any:
    convolution = nn.Conv2d(inside, out, size, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out))


@register_model
def conv_vit_mini_64(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """Build the architecture: width 192, two blocks, 64 patches of 8 x 8 pixels.

    Raises:
        RuntimeError: `pretrained` is set; there are no pretrained weights.
    """
    if pretrained:
        raise RuntimeError(f"No pretrained weights exist for {NAME}.")  # in timm's words
    for name in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        options.pop(name, None)
    options = {"img_size": 64, "embed_dim": 192, "depth": 2, "num_heads": 4, **options}
    embed = partial(HybridEmbed, backbone=conv_stem(options["embed_dim"]), proj=False)
    model = VisionTransformer(patch_size=1, embed_layer=embed, **options)
    config: Any = {"architecture": NAME, "mean": MEAN, "std": STD, "classifier": "head"}
    model.pretrained_cfg = model.default_cfg = config
    return model
