"""The two-stream student: encodes a photo as one global vector and one vector per patch.

    images (B, 3, H, W) --backbone--> cls (B, C), patches (B, P, C)
    global head: e_cls   = cls     -> (B, D)
    local head:  e_patch = patches -> (B, P, D)
    anchor:      adds what the backbone's classifier knows, where there is one (`anchor.py`)

After MKT (He et al., AAAI 2023, section 3.1; https://arxiv.org/abs/2207.01887). The backbone is any
timm model: a ViT gives [cls | patches]; a CNN or a hierarchical backbone gives a feature map whose
cells, in row order, are the patches and whose mean is cls.
"""

import difflib
import math
import pickle
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import timm
import torch
from safetensors.torch import load, load_file
from timm.models import group_parameters
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.files import open_regular
from mkt_search.models import conv_vit as _conv_vit  # noqa: F401  registers its name
from mkt_search.models.allowed import TIMM, check_options

if TYPE_CHECKING:
    from mkt_search.models.anchor import Anchor

# Filters of warnings belong to the process: for a while they cannot be set, other threads run.
warnings.filterwarnings("ignore", "Detected pickle protocol", module=r"torch\b")

HeadKind = Literal["linear", "mlp", "shared"]


class StudentVectors(NamedTuple):
    """The vectors of B photos: `global_vectors` (B, D) and `patches` (B, P, D), unscaled."""

    global_vectors: Tensor
    patches: Tensor


class Student(nn.Module):
    """A backbone and its two heads.

    Args:
        backbone: a timm model; see `create_backbone`.
        global_head: (B, C) -> (B, D).
        local_head: (B, P, C) -> (B, P, D); may be `global_head` itself.
        dim: D, the length of a label vector.
        grid: rows and columns of patches, rows * columns = P.

    Attributes:
        anchor: None, or what is added to the vectors of the heads; the loss does not see it.
    """

    anchor: "Anchor | None"

    def __init__(
        self,
        backbone: nn.Module,
        global_head: nn.Module,
        local_head: nn.Module,
        *,
        dim: int,
        grid: tuple[int, int],
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone  # timm is untyped
        self.global_head = global_head
        self.local_head = local_head
        self.anchor = None
        self.dim = dim
        self.grid = grid

    @property
    def channels(self) -> int:
        """C, the length of a feature of the backbone."""
        return int(self.backbone.num_features)

    @property
    def is_convolutional(self) -> bool:
        """True if the backbone gives a feature map; it is then fastest in channels-last memory."""
        return not hasattr(self.backbone, "num_prefix_tokens")

    def forward(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W), already normalized."""
        return self.anchored(*self.features(images))

    def anchored(self, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Apply the heads and add the anchor: (B, C), (B, P, C) -> (B, D), (B, P, D)."""
        vectors = self.project(cls, patches)
        return vectors if self.anchor is None else self.anchor.add(vectors, cls, patches)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of the heads: cls (B, C) and patches (B, P, C)."""
        return split_streams(self.backbone, self.backbone.forward_features(images))

    def project(self, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Apply the heads alone: (B, C), (B, P, C) -> (B, D), (B, P, D)."""
        return StudentVectors(self.global_head(cls), self.local_head(patches))

    def freeze(self, depth: int | Literal["all"]) -> None:
        """Freeze the stem and the first `depth` blocks of the backbone.

        Blocks are timm's coarse parameter groups: a block of a ViT, a stage of a CNN. 0 trains
        everything, "all" trains only the heads. Frozen parts also stay in evaluation mode: their
        batch-norm statistics do not change and their dropout stays off.

        Raises:
            ModelError: the backbone has fewer blocks.
        """
        groups = self.parameter_groups()
        blocks = len(groups) - 1  # the first group is the stem
        if depth != "all" and not 0 <= depth <= blocks:
            raise ModelError(
                f"cannot freeze {depth} blocks of a backbone that has {blocks};"
                f' take 0 to {blocks} or "all"'
            )
        self.requires_grad_(True)
        frozen = groups if depth == "all" else groups[: depth + 1 if depth else 0]
        for names in frozen:
            for name in names:
                self.backbone.get_parameter(name).requires_grad_(False)
        self.train(self.training)

    def parameter_groups(self) -> list[list[str]]:
        """Return the names of the backbone's parameters by block, from the stem to the output."""
        matcher = self.backbone.group_matcher(coarse=True)
        groups: dict[int, list[str]] = group_parameters(self.backbone, matcher)
        return [groups[depth] for depth in sorted(groups)]

    def train(self, mode: bool = True) -> "Student":
        """Set the mode of all modules except frozen ones, which stay in evaluation mode."""
        super().train(mode)
        for module in self.backbone.modules():
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
        return self

    def state(self) -> dict[str, Tensor]:
        """Return every weight once, even if the heads are shared, without the anchor."""
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not (self._is_shared and name.startswith("local_head."))
            and not name.startswith("anchor.")
            and not name.endswith("num_batches_tracked")
        }

    def load(self, state: Mapping[str, Tensor], *, source: str) -> None:
        """Load the tensors of `state()`. Raises ModelError if they do not fit."""
        self.take_shape(state)
        check_fit(self.state(), state, complaint=f"{source} does not fit this student")
        self.load_state_dict(dict(state), strict=False)

    def take_shape(self, state: Mapping[str, Tensor]) -> None:
        """Give a shared head the bias that `state` has: that of a regression, or of version 1."""
        if "global_head.bias" in state:
            give_bias(self.global_head)

    @property
    def _is_shared(self) -> bool:
        return self.global_head is self.local_head


def create_backbone(
    name: str,
    *,
    image_size: tuple[int, int],
    weights: Path | None = None,
    **timm_kwargs: Any,
) -> nn.Module:
    """Build a timm backbone without classifier; never download.

    Args:
        name: a timm architecture, such as "mobilenetv2_100" or "vit_base_patch16_224".
        image_size: (height, width) in pixels.
        weights: `.safetensors`, or a `.pth` with tensors only; None leaves random weights. The
            file may still have its classifier, or the layout of its authors' release.
        timm_kwargs: further arguments of the architecture, such as `pad_type="same"`.

    Raises:
        ModelError: unknown name or argument, or weights that do not fit.
    """
    try:
        check_options(timm_kwargs, TIMM)
    except ValueError as error:
        raise ModelError(f"timm cannot build {name}: {error}") from None
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ModelError(f'timm has no backbone "{name}"{hint}')
    try:
        backbone: nn.Module = timm.create_model(
            name, pretrained=False, **{"num_classes": 0, **timm_kwargs}
        )
    except Exception as error:  # wrong arguments make timm raise nearly anything
        raise ModelError(f"timm cannot build {name} with {timm_kwargs}: {error}") from error
    if weights is not None:
        load_backbone(backbone, weights, name=name)
    if hasattr(backbone, "set_input_size"):  # a ViT: resample the position embedding
        try:
            backbone.set_input_size(image_size)  # type: ignore[operator]
        except (RuntimeError, ValueError, AssertionError) as error:
            height, width = image_size
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"{name} cannot encode images of {height} x {width}: {reason}"
            ) from error
    return backbone


def load_backbone(backbone: nn.Module, weights: Path, *, name: str) -> None:
    """Load a timm backbone from a local file. Raises ModelError if the file does not fit."""
    own = backbone.state_dict()
    state = _without_classifier(read_tensors(weights), backbone)
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is not None and describe_difference(own, state):
        state = _without_classifier(convert(state, backbone), backbone)
    check_fit(own, state, complaint=f"{weights} does not fit {name}")
    backbone.load_state_dict(state, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` or torch file without running code in it.

    Raises:
        ModelError: the file is missing, damaged, or holds more than tensors.
    """
    try:
        with open_regular(path) as file:
            if path.suffix == ".safetensors":
                return dict(load_file(path))
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"there are no weights at {path}; check the path") from None
    except Exception as error:  # a file of another kind raises nearly anything
        raise ModelError(
            f"{path} cannot be read as weights ({unreadable(error)}); convert it to .safetensors"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ModelError(f"{path} is not a file of named tensors; give the weights themselves")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def tensors_of(data: bytes, *, source: str) -> dict[str, Tensor]:
    """Return the tensors in the bytes of a `.safetensors` file, which is from `source`.

    Raises:
        ModelError: the bytes are damaged or something else.
    """
    try:
        return dict(load(data))
    except Exception as error:  # safetensors has errors of its own
        raise ModelError(f"{source} cannot be read as weights ({unreadable(error)})") from error


def unreadable(error: Exception) -> str:
    """Return in words why a weights file could not be read.

    Torch's own message recommends letting the file run code, so it is replaced.
    """
    if isinstance(error, pickle.UnpicklingError | LookupError | EOFError):
        return "it is not a file of weights, or holds more than tensors"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


def check_fit(own: Mapping[str, Tensor], other: Mapping[str, Tensor], *, complaint: str) -> None:
    """Check that `other` can be loaded over `own`.

    Raises:
        ModelError: it cannot; the text is the complaint and the reason.
    """
    problem = describe_difference(own, other)
    if problem:
        raise ModelError(f"{complaint}: {problem}")


def describe_difference(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """Return in words why `other` cannot be loaded over `own`; "" if it can."""
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    given = {name for name in other if not name.endswith("num_batches_tracked")}
    reshaped = sorted(n for n in needed & given if own[n].shape != other[n].shape)
    parts = []
    if needed - given:
        lost = needed - given
        parts.append(f"{len(lost)} of its {len(needed)} tensors are missing, such as {min(lost)}")
    if given - needed:
        parts.append(f"{len(given - needed)} tensors are unknown, such as {min(given - needed)}")
    if reshaped:
        name = reshaped[0]
        shapes = f"{tuple(other[name].shape)} instead of {tuple(own[name].shape)}"
        parts.append(f"{len(reshaped)} tensors have another shape, such as {name}: {shapes}")
    return "; ".join(parts)


def split_streams(backbone: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """Split the result of `forward_features` into cls (B, C) and patches (B, P, C).

    `features` are tokens (B, N, C), or a map (B, C, H, W), or (B, H, W, C) if the backbone's
    `output_fmt` says so.
    """
    if features.ndim == 4:
        is_channels_last = str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC")
        patches = features.flatten(1, 2) if is_channels_last else features.flatten(2).mT
        return patches.mean(dim=1), patches
    patches = features[:, int(getattr(backbone, "num_prefix_tokens", 0)) :]
    if getattr(backbone, "cls_token", None) is None:
        return patches.mean(dim=1), patches
    return features[:, 0], patches


@torch.no_grad()
def measure_backbone(
    backbone: nn.Module, image_size: tuple[int, int]
) -> tuple[int, tuple[int, int]]:
    """Return C and the grid (rows, columns) of a backbone, measured on one black image.

    Raises:
        ModelError: its patches do not form a grid.
    """
    was_training = backbone.training
    features = backbone.eval().forward_features(torch.zeros(1, 3, *image_size))  # type: ignore[operator]
    backbone.train(was_training)
    _, patches = split_streams(backbone, features)
    count, channels = patches.shape[1:]
    height, width = image_size
    rows = round(math.sqrt(count * height / width))
    if features.ndim == 4:
        is_channels_last = str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC")
        rows = features.shape[1 if is_channels_last else 2]
    if rows < 1 or count % rows:
        raise ModelError(
            f"{count} patches of this backbone do not form a grid over {height} x {width}"
        )
    return channels, (rows, count // rows)


def create_heads(kind: HeadKind, channels: int, dim: int) -> tuple[nn.Module, nn.Module]:
    """Return the global and the local head, C -> D each; "shared" returns one module twice.

    A shared head has no bias, like the projection of CLIP and the head of MKT.

    Raises:
        ModelError: unknown kind.
    """
    if kind not in ("linear", "mlp", "shared"):
        raise ModelError(f'unknown heads "{kind}"; take linear, mlp or shared')
    first = _head(kind, channels, dim)
    return first, first if kind == "shared" else _head(kind, channels, dim)


def _head(kind: HeadKind, channels: int, dim: int) -> nn.Module:
    if kind == "mlp":
        return nn.Sequential(nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, dim))
    return nn.Linear(channels, dim, bias=kind != "shared")


def give_bias(head: nn.Module) -> None:
    """Give a linear head without a bias one of 0."""
    if isinstance(head, nn.Linear) and head.bias is None:
        head.bias = nn.Parameter(head.weight.new_zeros(head.out_features))


def _without_classifier(state: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Drop the tensors of a classifier that the backbone does not have."""
    own = backbone.state_dict()
    named = getattr(backbone, "pretrained_cfg", {}).get("classifier") or ()
    heads = (named,) if isinstance(named, str) else tuple(named)
    prefixes = tuple(f"{head}." for head in heads)
    return {name: t for name, t in state.items() if name in own or not name.startswith(prefixes)}
