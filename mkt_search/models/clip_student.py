"""CLIP's image tower as the student, so a user without a checkpoint can search.

The global vector equals open_clip's `encode_image`. A patch vector is the result of the tower's
last pooling over that patch alone: for CLIP's ViTs the token after the last norm, projected like
the class token; for attention pooling (ResNet, SigLIP) the value of that one cell. Patch vectors
are in the space of the labels without any training (Zhou et al., MaskCLIP, ECCV 2022;
https://arxiv.org/abs/2112.01071).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.models.student import (
    StudentVectors,
    check_fit,
    measure_backbone,
    split_streams,
)
from mkt_search.types import ImageSpec


class ClipStudent(nn.Module, ABC):
    """An image tower of open_clip with the interface of `Student`.

    Args:
        visual: the tower, `model.visual`.
        dim: D, the length of a label vector.
        grid: rows and columns of patches.
    """

    is_convolutional = False

    def __init__(self, visual: Any, *, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.visual = visual
        self.dim = dim
        self.grid = grid
        self.image = image_spec(visual)

    def forward(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W), already normalized."""
        return self.project(*self.features(images))

    @abstractmethod
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return cls (B, C) and patches (B, P, C), just before the tower's projection."""

    @abstractmethod
    def project(self, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Apply the tower's projection: (B, C), (B, P, C) -> (B, D), (B, P, D)."""

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint."""
        state: dict[str, Tensor] = self.visual.state_dict()
        return {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}

    def load(self, state: Mapping[str, Tensor], *, source: str) -> None:
        """Load the tensors of `state()`. Raises ModelError if they do not fit."""
        check_fit(self.state(), state, complaint=f"{source} does not fit this student")
        self.visual.load_state_dict(dict(state), strict=False)


class VitStudent(ClipStudent):
    """CLIP's ViT: [cls | patches] -> last norm -> projection."""

    def __init__(self, visual: VisionTransformer) -> None:
        if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
            raise ModelError(
                "this tower pools its patches with queries (CoCa), so patches have no vectors of"
                " their own; take a plain one such as ViT-B-16"
            )
        super().__init__(visual, dim=visual.output_dim, grid=visual.grid_size)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return cls (B, C) and patches (B, P, C), after the last norm."""
        tower = self.visual
        out = tower.forward_intermediates(
            images, indices=1, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        cls, patches = out["image_intermediates_prefix"][0], out["image_intermediates"][0]
        if tower.final_ln_after_pool:
            pooled = cls[:, 0] if tower.pool_type == "tok" else patches.mean(dim=1)
            return tower.ln_post(pooled), tower.ln_post(patches)
        tokens = tower.ln_post(torch.cat([cls, patches], dim=1))  # (B, 1 + P, C)
        patches = tokens[:, 1:]
        return tokens[:, 0] if tower.pool_type == "tok" else patches.mean(dim=1), patches

    def project(self, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Multiply by the projection that CLIP learned for the class token."""
        projection = self.visual.proj
        return StudentVectors(cls @ projection, patches @ projection)


class ResNetStudent(ClipStudent):
    """CLIP's ResNets: a feature map whose cells are pooled by attention."""

    is_convolutional = True

    def __init__(self, visual: ModifiedResNet) -> None:
        pool = visual.attnpool
        side = math.isqrt(len(pool.positional_embedding) - 1)
        super().__init__(visual, dim=pool.c_proj.out_features, grid=(side, side))

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled map (B, D), and each cell (B, P, D) as if attended to alone."""
        out = self.visual.forward_intermediates(images, indices=1, intermediates_only=True)
        cells = out["image_intermediates"][0]  # (B, C, rows, columns)
        pool = self.visual.attnpool
        values = cells.flatten(2).mT + pool.positional_embedding[1:].to(cells.dtype)  # (B, P, C)
        return pool(cells), pool.c_proj(pool.v_proj(values))

    def project(self, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Return the inputs; the projection is part of the pooling."""
        return StudentVectors(cls, patches)


class TimmStudent(ClipStudent):
    """A timm backbone inside open_clip: SigLIP, ConvNeXt, EVA, MobileCLIP, PE."""

    def __init__(self, visual: TimmModel, *, dim: int) -> None:
        trunk = visual.trunk
        if getattr(getattr(trunk, "attn_pool", None), "pos_embed", None) is not None:
            raise ModelError(
                "this tower pools its patches by position, so patches have no vectors of their own;"
                " take a plain one such as ViT-B-16"
            )
        _, grid = measure_backbone(trunk, visual.image_size)
        super().__init__(visual, dim=dim, grid=grid)
        self.is_convolutional = not hasattr(trunk, "num_prefix_tokens")

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled features (B, C) and each patch pooled alone (B, P, C)."""
        trunk = self.visual.trunk
        features = trunk.forward_features(images)
        _, patches = split_streams(trunk, features)  # (B, P, C)
        alone = _as_features(trunk, patches.flatten(0, 1), features)
        pooled = trunk.forward_head(alone)  # (B * P, C)
        return trunk.forward_head(features), pooled.unflatten(0, patches.shape[:2])

    def project(self, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Apply the head that open_clip puts on the trunk."""
        head = self.visual.head
        return StudentVectors(head(cls), head(patches))


def clip_student(model: Any) -> ClipStudent:
    """Return the image tower of an open_clip model as a student.

    Raises:
        ModelError: patches of such a tower have no vectors of their own.
    """
    visual = model.visual
    if isinstance(visual, VisionTransformer):
        return VitStudent(visual)
    if isinstance(visual, ModifiedResNet):
        return ResNetStudent(visual)
    if isinstance(visual, TimmModel):
        return TimmStudent(visual, dim=_width(visual))
    raise ModelError(f"an image tower of kind {type(visual).__name__} cannot be used as a student")


def image_spec(visual: Any) -> ImageSpec:
    """Return a tower's input pixels, from open_clip's description of it.

    Raises:
        ModelError: images are resized in an unsupported way.
    """
    config = visual.preprocess_cfg
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    modes = {"shortest": "crop", "squash": "squash"}
    if config["resize_mode"] not in modes:
        raise ModelError(f'images resized by "{config["resize_mode"]}" are not supported')
    mean, std = tuple(config["mean"]), tuple(config["std"])
    return ImageSpec(height, width, mean, std, modes[config["resize_mode"]])  # type: ignore[arg-type]


def _as_features(trunk: Any, patches: Tensor, like: Tensor) -> Tensor:
    """Shape each of N patches (N, C) like the features of an image with only that patch."""
    if like.ndim == 3:  # the prefix tokens become the patch too, whichever the pooling reads
        prefix = int(getattr(trunk, "num_prefix_tokens", 0))
        return patches[:, None].expand(-1, prefix + 1, -1)
    is_channels_last = str(getattr(trunk, "output_fmt", "NCHW")).endswith("NHWC")
    return patches[:, None, None] if is_channels_last else patches[..., None, None]


@torch.no_grad()
def _width(visual: TimmModel) -> int:
    images = torch.zeros(1, 3, *visual.image_size)
    return int(visual.eval()(images).shape[-1])
