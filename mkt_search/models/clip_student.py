"""CLIP's image tower as the student, so a user without a checkpoint can search.

The global vector is open_clip's `encode_image`, to the bit. A patch vector is in the space of the
labels without any training, in the form that fits how the tower was pooled in its training:

    class token    OpenAI's, LAION's and other ViTs, EVA, MobileCLIP-B: the last attention's values,
                   corrected (`models.last_block`); "own" is the token after the last block, which
                   tells what the photo shows rather than where
    attention      ResNet, SigLIP, PE: the patch pooled alone, that is its value (Zhou et al.,
                   MaskCLIP, ECCV 2022; https://arxiv.org/abs/2112.01071)
    mean           CLIPA, ConvNeXt, FastViT: the patch pooled alone

One pass through the tower gives both.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, get_args

import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.models.last_block import corrected, gaussian_window, watched, why_not_corrected
from mkt_search.models.student import (
    StudentVectors,
    check_fit,
    measure_backbone,
    split_streams,
)
from mkt_search.types import DEFAULT_PATCH_VECTORS, ImageSpec, PatchVectors

log = logging.getLogger(__name__)

_ATTENTION = "it pools by attention, where a patch pooled alone is its value already"
_MEAN = "it pools by the mean, which trains every patch in its place"


class ClipStudent(nn.Module, ABC):
    """An image tower of open_clip with the interface of `Student`.

    Args:
        visual: the tower, `model.visual`.
        dim: D, the length of a label vector.
        grid: rows and columns of patches.
        why_own: why the tower gives only its own patch vectors; "" if it gives every form.
    """

    is_convolutional = False

    def __init__(self, visual: Any, *, dim: int, grid: tuple[int, int], why_own: str = "") -> None:
        super().__init__()
        self.visual = visual
        self.dim = dim
        self.grid = grid
        self.why_own = why_own
        self.image = image_spec(visual)
        self._form: PatchVectors = "own"

    @property
    def patch_vectors(self) -> PatchVectors:
        """The form of the patch vectors; one that the tower does not give becomes "own"."""
        return self._form

    @patch_vectors.setter
    def patch_vectors(self, form: PatchVectors) -> None:
        if form not in get_args(PatchVectors):
            raise ValueError(f"there are no patch vectors {form!r}")
        self._form = "own" if self.why_own else form
        if self._form != form and self.why_own not in (_ATTENTION, _MEAN):
            log.warning(
                "the patch vectors are the tokens after the last block, which tell less where a"
                " label is: %s, whose attention cannot be corrected",
                self.why_own,
            )

    @abstractmethod
    def forward(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W), already normalized: (B, D) and (B, P, D), in one pass."""

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

    window: Tensor

    def __init__(self, visual: VisionTransformer) -> None:
        if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
            raise ModelError(
                "this tower pools its patches with queries (CoCa), so patches have no vectors of"
                " their own; take a plain one such as ViT-B-16"
            )
        is_mean = visual.pool_type == "avg"
        why = _MEAN if is_mean else why_not_corrected(visual.transformer.resblocks[-1])
        super().__init__(visual, dim=visual.output_dim, grid=visual.grid_size, why_own=why)
        self.register_buffer("window", gaussian_window(self.grid), persistent=False)

    def forward(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W), already normalized: (B, D) and (B, P, D), in one pass."""
        tower = self.visual
        block = tower.transformer.resblocks[-1]
        with watched(block) as calls:
            global_vectors = tower(images)
        if self.patch_vectors == "own":
            patches = calls[0].result[:, 1:]
        else:
            patches = corrected(block, calls[0], self.patch_vectors, prefix=1, window=self.window)
        return StudentVectors(global_vectors, tower.ln_post(patches) @ tower.proj)


class ResNetStudent(ClipStudent):
    """CLIP's ResNets: a feature map whose cells are pooled by attention."""

    is_convolutional = True

    def __init__(self, visual: ModifiedResNet) -> None:
        pool = visual.attnpool
        side = math.isqrt(len(pool.positional_embedding) - 1)
        dim = pool.c_proj.out_features
        super().__init__(visual, dim=dim, grid=(side, side), why_own=_ATTENTION)

    def forward(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W): each cell of the map as if all attention were on it."""
        pool = self.visual.attnpool
        with watched(pool) as calls:
            global_vectors = self.visual(images)
        cells = calls[0].given  # (B, C, rows, columns)
        values = cells.flatten(2).mT + pool.positional_embedding[1:].to(cells.dtype)  # (B, P, C)
        return StudentVectors(global_vectors, pool.c_proj(pool.v_proj(values)))


class TimmStudent(ClipStudent):
    """A timm backbone inside open_clip: SigLIP, ConvNeXt, EVA, MobileCLIP, PE."""

    window: Tensor

    def __init__(self, visual: TimmModel, *, dim: int) -> None:
        trunk = visual.trunk
        if getattr(getattr(trunk, "attn_pool", None), "pos_embed", None) is not None:
            raise ModelError(
                "this tower pools its patches by position, so patches have no vectors of their own;"
                " take a plain one such as ViT-B-16"
            )
        _, grid = measure_backbone(trunk, visual.image_size)
        super().__init__(visual, dim=dim, grid=grid, why_own=_why_own(trunk))
        self.is_convolutional = not hasattr(trunk, "num_prefix_tokens")
        self.register_buffer("window", gaussian_window(grid), persistent=False)

    def forward(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W): each patch as if the tower had pooled it alone."""
        trunk, head = self.visual.trunk, self.visual.head
        if self.patch_vectors == "own":
            features = trunk.forward_features(images)
            _, patches = split_streams(trunk, features)  # (B, P, C)
        else:
            block = trunk.blocks[-1]
            with watched(block) as calls:
                features = trunk.forward_features(images)
            prefix = int(trunk.num_prefix_tokens)
            form = self.patch_vectors
            patches = corrected(block, calls[0], form, prefix=prefix, window=self.window)
            patches = trunk.norm(patches)
        alone = _as_features(trunk, patches.flatten(0, 1), features)
        pooled = head(trunk.forward_head(alone))  # (B * P, D)
        return StudentVectors(
            head(trunk.forward_head(features)), pooled.unflatten(0, patches.shape[:2])
        )


def clip_student(model: Any, patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS) -> ClipStudent:
    """Return the image tower of an open_clip model as a student.

    Args:
        model: the model; its tower is shared, not copied.
        patch_vectors: the form of the patch vectors. A tower that has only its own gives these:
            see `patch_vectors` and `why_own` of the result.

    Raises:
        ModelError: patches of such a tower have no vectors of their own.
    """
    student = _student_of(model.visual)
    student.patch_vectors = patch_vectors
    return student


def _student_of(visual: Any) -> ClipStudent:
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


def _why_own(trunk: Any) -> str:
    """Return in words why a timm backbone gives only its own patch vectors; "" if it gives all."""
    pooling = getattr(trunk, "global_pool", "")
    if getattr(trunk, "attn_pool", None) is not None:
        return _ATTENTION
    if pooling != "token" or not hasattr(trunk, "blocks"):
        return _MEAN
    return why_not_corrected(trunk.blocks[-1])


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
