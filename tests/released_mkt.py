"""A small release of MKT with random weights, and its score computed by a plain reference.

The state dicts have the names and the layout of the authors' release. `reference_scores` computes
from them the score that the released programs print, with torch's functions alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torchvision import transforms

from mkt_search.models.clip import create_clip

State = dict[str, Tensor]

TINY = "tiny-mkt"
CONFIG = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {
        **{"image_size": 48, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
    },
    "text_cfg": {"context_length": 24, "width": 32, "heads": 2, "layers": 2},
}


@dataclass(frozen=True)
class Release:
    """The state dicts and their folder; `table` has CLIP's own token embeddings.

    `head` is the width of one attention head. A photo's shorter side is scaled to `scaled` pixels,
    and the photo is cropped to `side`.
    """

    folder: Path
    image: State
    text: State
    table: Tensor
    model: str = TINY
    head: int = 16
    scaled: int = 54
    side: int = 48

    @property
    def options(self) -> list[str | Path]:
        """The options of `mkt import-mkt` that name the files."""
        return [
            *("--clip", self.model, "--clip-weights", self.folder / "clip.safetensors"),
            *("--image-checkpoint", self.folder / "first.pth"),
            *("--text-checkpoint", self.folder / "second.pth"),
        ]

    def write(self) -> "Release":
        """Write both state dicts, the second one with the prefix that parallel training adds."""
        torch.save(self.image, self.folder / "first.pth")
        torch.save({f"module.{n}": t for n, t in self.text.items()}, self.folder / "second.pth")
        return self


def tiny_release(folder: Path) -> Release:
    """Register a tiny CLIP with QuickGELU in open_clip, and write its release."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{TINY}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{TINY}.json")
    clip = _clip_weights(folder, TINY)
    return Release(folder, *_stages(clip)).write()


def full_release(folder: Path) -> Release:
    """Write a release of full size: ViT-B/16."""
    clip = _clip_weights(folder, "ViT-B-16-quickgelu")
    stages = _stages(clip)
    return Release(folder, *stages, model="ViT-B-16", head=64, scaled=256, side=224).write()


def _clip_weights(folder: Path, model: str) -> State:
    """Write a CLIP whose weights are all random."""
    generator = torch.Generator().manual_seed(0)
    state: State = create_clip(model).state_dict()
    for name, tensor in state.items():
        spread = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.1
        tensor.normal_(std=spread, generator=generator)
        if "ln_" in name and name.endswith("weight"):
            tensor.add_(1)
    save_file({name: t.contiguous() for name, t in state.items()}, folder / "clip.safetensors")
    return state


def _stages(clip: State) -> tuple[State, State, Tensor]:
    """Return the state dicts of both stages, and the token embeddings before training."""
    generator = torch.Generator().manual_seed(1)
    image = {n.removeprefix("visual."): t for n, t in clip.items() if n.startswith("visual.")}
    image["projection_dist"] = image.pop("proj")
    width, dim = image["projection_dist"].shape
    for name, shape in {"fc1.weight": (dim, width), "fc2.weight": (dim, dim)}.items():
        image[f"projection.{name}"] = torch.randn(*shape, generator=generator)
        image[f"projection.{name.replace('weight', 'bias')}"] = torch.zeros(dim)
    text = {n: t for n, t in clip.items() if n not in ("logit_scale",) and "visual." not in n}
    table = text["token_embedding.weight"]
    moved = 0.9 * table + 0.1 * torch.randn(table.shape, generator=generator)
    return image, {**text, "token_embedding.weight": moved}, table


@torch.inference_mode()
def reference_scores(
    release: Release, photo: Path, labels: Sequence[str], *, names: Literal["clip", "tuned"]
) -> dict[str, float]:
    """Return the score of every label for a photo, as the released programs compute it."""
    tokens = image_tokens(release, photo) @ release.image["projection_dist"]  # (1 + P, D)
    z = text_features(release, labels, release.table if names == "clip" else None)  # (L, D)
    by_patch = (tokens[1:] @ z.T).topk(18, dim=0).values.mean(dim=0)
    by_class = tokens[0] @ z.T
    scores = (by_patch / by_patch.norm() + by_class / by_class.norm()) / 2
    return dict(zip(labels, scores.tolist(), strict=True))


def image_tokens(release: Release, photo: Path) -> Tensor:
    """Return (1 + P, C): class token and patches after the norm of all."""
    prepare = transforms.Compose(
        [
            transforms.Resize(release.scaled, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(release.side),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    state = release.image
    pixels = prepare(Image.open(photo).convert("RGB"))[None]
    kernel = state["conv1.weight"]
    patches = functional.conv2d(pixels, kernel, stride=kernel.shape[-1])[0].flatten(1).T
    x = torch.cat([state["class_embedding"][None], patches]) + state["positional_embedding"]
    x = transformer(norm(x, state, "ln_pre"), state, head=release.head)
    return norm(x, state, "ln_post")


def text_features(release: Release, labels: Sequence[str], names: Tensor | None) -> Tensor:
    """Return (L, D); `names` replaces the embeddings of a label's tokens, from the fourth on."""
    state = release.text
    table, positions = state["token_embedding.weight"], state["positional_embedding"]
    tokenizer = open_clip.get_tokenizer(release.model)
    mask = torch.full((len(positions), len(positions)), float("-inf")).triu(1)
    found = []
    for label in labels:
        ids = tokenizer([f"There is a {label} in the scene"])[0]
        x = table[ids]
        if names is not None:
            end = 4 + len(tokenizer.encode(label))
            x[4:end] = names[ids[4:end]]
        x = norm(transformer(x + positions, state, head=release.head, mask=mask), state, "ln_final")
        found.append(x[ids.argmax()] @ state["text_projection"])
    return torch.stack(found)


def transformer(x: Tensor, state: State, *, head: int, mask: Tensor | float = 0.0) -> Tensor:
    """Pass (T, C) through all blocks: attention and a QuickGELU perceptron, norms first."""
    depth = 0
    while f"transformer.resblocks.{depth}.ln_1.weight" in state:
        at = f"transformer.resblocks.{depth}."
        y = norm(x, state, at + "ln_1")
        qkv = y @ state[at + "attn.in_proj_weight"].T + state[at + "attn.in_proj_bias"]
        q, k, v = qkv.view(len(x), 3, -1, head).permute(1, 2, 0, 3)  # (heads, T, head) each
        attention = (q @ k.mT / head**0.5 + mask).softmax(dim=-1) @ v
        x = x + linear(attention.transpose(0, 1).reshape(x.shape), state, at + "attn.out_proj")
        hidden = linear(norm(x, state, at + "ln_2"), state, at + "mlp.c_fc")
        x = x + linear(hidden * torch.sigmoid(1.702 * hidden), state, at + "mlp.c_proj")
        depth += 1
    return x


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(x: Tensor, state: State, name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])
